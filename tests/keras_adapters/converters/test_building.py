import numpy as np
import pytest
import tf_keras

from keras_adapters.converters.building import build_encoder

CONFIG = {
    "vocab_size": 30,
    "hidden_size": 8,
    "embedding_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
    "type_vocab_size": 2,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
}


def test_nothing_is_drawn_that_would_be_overwritten(monkeypatch):
    def draw(*arguments, **settings):
        pytest.fail("a random value was drawn")

    monkeypatch.setattr(tf_keras.initializers.TruncatedNormal, "__call__", draw)
    encoder = build_encoder(CONFIG, None)
    assert len(encoder.variables) == 5 + 2 * 16 + 2
    assert not any(np.any(variable.numpy()) for variable in encoder.variables)


def test_layers_that_are_made_later_have_their_own_initial_values():
    encoder = build_encoder(CONFIG, None)
    head = tf_keras.layers.Dense(3)
    head(encoder(encoder.inputs)["pooled_output"])
    assert np.any(head.kernel.numpy())
    again = type(encoder).from_config(encoder.get_config())
    again(again.inputs)
    assert np.any(again.variables[0].numpy())
