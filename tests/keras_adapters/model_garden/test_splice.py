import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.nlp.modeling import networks

from keras_adapters import AdapterConfig
from keras_adapters.converters.load import load_encoder
from keras_adapters.model_garden import BottleneckAdapter, add_adapters, insertion
from keras_adapters.model_garden.layers import make_layer
from keras_adapters.variables import encoder_variables

BOTH = pytest.mark.parametrize("cls", [networks.BertEncoderV2, networks.BertEncoder])
OUTPUTS = ("sequence_output", "pooled_output")


def adapters_in(encoder):
    return [layer for layer in encoder.submodules if isinstance(layer, BottleneckAdapter)]


def apart(first, second):
    return max(float(tf.reduce_max(tf.abs(first[name] - second[name]))) for name in OUTPUTS)


@BOTH
@pytest.mark.parametrize("norm_first", [False, True])
def test_a_fresh_adapter_is_nearly_the_identity_where_one_position_is_computed(
    cls, norm_first, small_encoder, tokens
):
    encoder = small_encoder(cls, norm_first=norm_first, output_range=1)
    before = encoder(tokens)
    add_adapters(encoder, AdapterConfig(8))
    after = encoder(tokens)
    assert 0 < apart(before, after) < 5e-3


def test_adapters_stand_before_the_residual_and_the_layer_norm(small_encoder, tokens):
    """Recomputes a block from its own sub-layers, with the paper's formula at both places."""
    encoder = add_adapters(small_encoder(), AdapterConfig(8, init_stddev=0.5))
    block = encoder.transformer_layers[0]
    inputs = tf.random.stateless_normal([2, 6, 16], seed=(0, 1))
    mask = tf.ones([2, 6, 6])
    attention = block._attention_layer(query=inputs, value=inputs, attention_mask=mask)
    attention = block._attention_dropout.adapter(attention)
    middle = block._attention_layer_norm(inputs + attention)
    inner = tf.nn.gelu(block._intermediate_dense(middle), approximate=False)
    expected = block._output_dropout.adapter(block._output_dense(inner))
    expected = block._output_layer_norm(middle + expected)
    np.testing.assert_allclose(block([inputs, mask]), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("places", "layers", "where"),
    [
        (("attention", "feed_forward"), None, {"0a", "0f", "1a", "1f", "2a", "2f"}),
        (("attention",), None, {"0a", "1a", "2a"}),
        (("feed_forward",), (2,), {"2f"}),
        (("attention", "feed_forward"), (0, 2), {"0a", "0f", "2a", "2f"}),
    ],
)
def test_places_and_layers(places, layers, where, small_encoder):
    config = AdapterConfig(4, places=places, layers=layers)
    encoder = add_adapters(small_encoder(), config)
    names = [name for name in encoder_variables(encoder) if name.endswith("adapter/up/bias")]
    assert {name.split("/")[0][-1] + name.split("/")[1][0] for name in names} == where
    assert len(adapters_in(encoder)) == len(where)


# BERT-base and BERT-large, both places in every block: the paper's section 2.1.
@pytest.mark.parametrize(
    ("hidden", "blocks", "size", "count"),
    [(768, 12, 64, 2_379_264), (1024, 24, 64, 6_343_680), (768, 12, 8, 313_536)],
)
def test_adapter_parameters_are_the_papers(hidden, blocks, size, count):
    encoder = networks.BertEncoderV2(
        vocab_size=10, hidden_size=hidden, num_layers=blocks, inner_dim=8, num_attention_heads=2
    )
    add_adapters(encoder, AdapterConfig(size))
    assert sum(adapter.count_params() for adapter in adapters_in(encoder)) == count


def test_an_encoder_that_is_not_built_yet(tokens):
    encoder = networks.BertEncoderV2(50, 16, 2, 2, 32, 2, 24)
    add_adapters(encoder, AdapterConfig(4))
    assert encoder(tokens)["pooled_output"].shape == [2, 16]


def classifier(encoder):
    outputs = encoder(encoder.inputs)
    return tf_keras.Model(encoder.inputs, tf_keras.layers.Dense(3)(outputs["pooled_output"]))


@BOTH
def test_checkpoint_and_h5_round_trip(cls, small_encoder, tokens, tmp_path):
    model = classifier(add_adapters(small_encoder(cls), AdapterConfig(8, init_stddev=0.5)))
    fresh = classifier(add_adapters(small_encoder(cls), AdapterConfig(8)))
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "ckpt"))
    tf.train.Checkpoint(model=fresh).read(path).assert_consumed()
    np.testing.assert_array_equal(fresh(tokens), model(tokens))
    fresh.set_weights([np.zeros_like(w) for w in fresh.get_weights()])
    model.save_weights(tmp_path / "weights.h5")
    fresh.load_weights(tmp_path / "weights.h5")
    np.testing.assert_array_equal(fresh(tokens), model(tokens))


def test_a_model_that_was_built_before_splicing_uses_the_adapters(small_encoder, tokens):
    encoder = small_encoder()
    model = classifier(encoder)
    before = model(tokens)
    add_adapters(encoder, AdapterConfig(8, init_stddev=1.0))
    assert np.abs(model(tokens) - before).max() > 1e-3
    assert len(model.trainable_variables) == len(encoder.trainable_variables) + 2


def test_mixed_precision_follows_the_encoder(tokens, small_encoder):
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    encoder = small_encoder()
    tf_keras.mixed_precision.set_global_policy("float32")
    add_adapters(encoder, AdapterConfig(8))
    assert {adapter.compute_dtype for adapter in adapters_in(encoder)} == {"bfloat16"}
    assert {v.dtype for v in encoder.variables} == {tf.float32}
    assert encoder(tokens)["sequence_output"].dtype == tf.float32


def test_other_encoders_are_refused_with_the_list_of_known_ones(small_encoder):
    with pytest.raises(ValueError, match=r"BertEncoderV2, BertEncoder,.*Received: Dense"):
        add_adapters(tf_keras.layers.Dense(3), AdapterConfig())


def test_a_second_time_is_refused(small_encoder):
    encoder = add_adapters(small_encoder(), AdapterConfig(4))
    with pytest.raises(ValueError, match="has adapters already"):
        add_adapters(encoder, AdapterConfig(4))


def test_a_block_that_is_not_there_is_refused_and_nothing_changes(small_encoder):
    encoder = small_encoder()
    with pytest.raises(ValueError, match=r"3 blocks. Received: \[3, 7\]"):
        add_adapters(encoder, AdapterConfig(4, layers=(0, 3, 7)))
    assert not adapters_in(encoder)
    assert type(encoder) is networks.BertEncoderV2


def test_real_weights_are_hardly_changed_by_fresh_adapters(minilm, fixtures):
    reference = np.load(fixtures / "minilm_reference.npz")
    inputs = {
        "input_word_ids": reference["input_word_ids"],
        "input_mask": reference["input_mask"],
        "input_type_ids": np.zeros_like(reference["input_mask"]),
    }
    encoder = load_encoder(minilm.folder)
    before = encoder(inputs)
    tf_keras.utils.set_random_seed(0)
    add_adapters(encoder, AdapterConfig(64))
    assert 0 < apart(before, encoder(inputs)) < 0.3
    for adapter in adapters_in(encoder):
        # A tenth of each kernel's values: a hundredth of what an adapter adds, or nearly.
        adapter.set_weights([0.1 * weight for weight in adapter.get_weights()])
    assert apart(before, encoder(inputs)) < 2e-3


def test_a_class_derived_from_an_encoders_is_refused(small_encoder):
    class Derived(networks.BertEncoderV2):
        pass

    with pytest.raises(ValueError, match="not of a class derived"):
        add_adapters(small_encoder(Derived), AdapterConfig(4))


def test_no_settings_are_refused(small_encoder):
    with pytest.raises(ValueError, match="`config` must be"):
        add_adapters(small_encoder(), None)


def test_for_want_of_memory_no_adapter_is_put(small_encoder, monkeypatch):
    encoder = small_encoder()
    made = []

    def make(config, **kwargs):
        made.append(make_layer(config, **kwargs))
        if len(made) == 4:
            raise tf.errors.ResourceExhaustedError(None, None, "no memory")
        return made[-1]

    monkeypatch.setattr(insertion, "make_layer", make)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        add_adapters(encoder, AdapterConfig(4))
    assert not adapters_in(encoder)
    assert type(encoder) is networks.BertEncoderV2


class TwoOfOneName(tf_keras.layers.Layer):
    """A word embedding whose two variables end in the same name."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embeddings = self.add_weight("first/table", [50, 16])
        self.second = self.add_weight("second/table", [50, 16])

    def call(self, inputs):
        return tf.gather(self.embeddings + self.second, inputs)


def test_two_variables_that_would_have_one_name_are_an_error(small_encoder):
    encoder = small_encoder(embedding_layer=TwoOfOneName())
    with pytest.raises(ValueError, match=r"both be named 'embeddings/word/table'"):
        encoder_variables(encoder)
    with pytest.raises(ValueError, match=r"both be named 'embeddings/word/table'"):
        add_adapters(encoder, AdapterConfig(4))
    assert not adapters_in(encoder)
    assert type(encoder) is networks.BertEncoderV2


def test_the_variables_of_an_encoder_that_is_not_built_are_an_error():
    with pytest.raises(ValueError, match="must be built"):
        encoder_variables(networks.BertEncoderV2(50, 16, 2, 2, 32, 2, 24))
