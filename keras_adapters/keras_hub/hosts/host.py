"""What hosts of Keras 3 models share."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_adapters import host
from keras_adapters.host import described_activation


class Host(host.Host):
    """All that is special about one class of backbone in `keras_hub.models`.

    An RMS norm, a LayerNorm's scale without its mean and shift, counts as a LayerNorm.
    """

    norm_classes = (keras.layers.LayerNormalization, keras.layers.RMSNormalization)

    def inner_layers(self, layer: keras.layers.Layer) -> list[keras.layers.Layer]:
        """Returns all layers inside of a layer, at any depth, without itself."""
        return list(layer._flatten_layers(include_self=False))

    def pooler(self, encoder: keras.Model) -> keras.layers.Layer | None:
        """Returns the layer behind `pooled_output`; None where there is none."""
        return getattr(encoder, "pooled_dense", None)

    def embedding_architecture(self, table: keras.layers.Layer) -> dict[str, Any]:
        """Returns what `architecture` tells of the layer of word embeddings.

        Raises:
          ValueError: the layer is of a class of its own.
        """
        if type(table) not in (keras.layers.Embedding, keras.layers.ReversibleEmbedding):
            raise ValueError(
                "the word embeddings must be a `keras.layers.Embedding` or `ReversibleEmbedding`. "
                f"Received: {table.name!r}, a {type(table).__name__}"
            )
        masks = {"mask_zero": True} if table.mask_zero else {}
        return {"embedding_scale": 1.0, **masks}

    def activation_of(self, layer: keras.layers.Layer) -> str:
        """Returns the name of a layer's activation, by what it computes in float32.

        Raises:
          ValueError: it is no function of one tensor, or holds variables.
        """
        function = layer.activation
        if isinstance(function, keras.layers.Layer):
            if function.weights:
                raise ValueError(
                    f"the activation of {layer.name!r} must hold no variables. Received: "
                    f"{function.name!r}, a {type(function).__name__}"
                )
            # Past `__call__`, which would cast to the layer's own precision.
            function = function.call

        def computed(x: np.ndarray) -> np.ndarray:
            return keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(x)))

        # A `Dense` without an activation has None for the identity.
        return described_activation(layer, computed if function is not None else lambda x: x)
