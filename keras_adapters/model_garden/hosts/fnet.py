"""FNet: BERT's blocks in a scaffold, most of which mix tokens by Fourier transforms."""

from __future__ import annotations

from official.nlp.modeling import layers

from keras_adapters.model_garden.hosts.bert import BertHost


class FNetHost(BertHost):
    """`FNet`."""

    block_classes = (layers.TransformerScaffold,)
