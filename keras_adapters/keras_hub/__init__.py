"""Hosts built on Keras 3: the backbones of KerasHub."""
