"""Where a model trains: one device, several GPUs, several workers, or a TPU."""

from __future__ import annotations

import tensorflow as tf
from official.common import distribute_utils


def make_strategy(name: str = "auto", tpu: str | None = None) -> tf.distribute.Strategy:
    """Makes a strategy and says which.

    Args:
      name: `auto` (a TPU if `tpu` names one, else several GPUs if there are, else one
        device), `one_device`, `mirrored`, `multi_worker_mirrored` or `tpu`.
      tpu: a TPU's name or address, `local` on a TPU VM.

    Returns:
      The strategy; its scope is where the model must be built.

    Raises:
      ValueError: the strategy needs what is not there.
    """
    gpus = len(tf.config.list_logical_devices("GPU"))
    if name == "auto":
        name = "tpu" if tpu else "mirrored" if gpus > 1 else "one_device"
    print(f"Strategy: {name}, {gpus} GPUs" + (f", TPU {tpu}" if tpu else ""))
    if name == "tpu":
        if not tpu:
            raise ValueError("--strategy=tpu needs --tpu: the TPU's name, or `local` on its VM")
        return distribute_utils.get_distribution_strategy("tpu", tpu_address=tpu)
    if name == "one_device":
        # TensorFlow's default places on the first GPU or the CPU, and unlike
        # OneDeviceStrategy it works with every Keras callback.
        return tf.distribute.get_strategy()
    return distribute_utils.get_distribution_strategy(name, num_gpus=gpus)
