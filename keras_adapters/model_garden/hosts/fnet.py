"""FNet: BERT's blocks in a scaffold, most of which mix tokens by Fourier transforms."""

from __future__ import annotations

from typing import Any

import tf_keras
from official.nlp.modeling import layers

from keras_adapters.model_garden.hosts.bert import BertHost

# By which of these a block mixes its tokens; by attention, if by none of them.
_MIXING = {
    layers.FourierTransformLayer: "fourier",
    layers.HartleyTransformLayer: "hartley",
    layers.LinearTransformLayer: "linear",
}


class FNetHost(BertHost):
    """`FNet`."""

    family = "fnet"
    block_classes = (layers.TransformerScaffold,)

    def block_architecture(self, block: tf_keras.layers.Layer) -> dict[str, Any]:
        """Returns what is told of a block of BERT, and how tokens are mixed."""
        found = (name for cls, name in _MIXING.items() if isinstance(block._attention_layer, cls))
        return {**super().block_architecture(block), "mixing": next(found, "attention")}
