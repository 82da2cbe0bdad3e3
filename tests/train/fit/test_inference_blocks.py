import functools

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.nlp.modeling import networks

from keras_adapters.methods.bottleneck import FORMS, AdapterConfig
from keras_adapters.methods.method import Method
from train.fit.inference_blocks import inference_blocks
from train.objectives.model import build_classifier

Adapters = functools.partial(AdapterConfig, 4, init_stddev=0.3)
METHODS = {
    "plain": Method.named("feature_based"),
    "houlsby": Method(Adapters()),
    "one_place": Method(Adapters(places=("feed_forward",), layers=(1,), activation="relu")),
    "scaled": Method(Adapters(scale="learned", hidden_layers=2, activation="gelu_tanh")),
    "gate": Method(Adapters(gate=True)),
    "norm": Method(Adapters(norm="layer")),
    "swish": Method(Adapters(activation="swish", scale="per_channel")),
    **{form: Method(Adapters(form=form)) for form in FORMS if form != "sequential"},
}

NAMES = ("input_word_ids", "input_mask", "input_type_ids")


def model_of(encoder, method, pooling="mean"):
    """A classifier none of whose variables is 0 or 1."""
    model = build_classifier(encoder, 3, method, pooling=pooling)
    random = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign_add(tf.cast(0.1 * random.normal(size=variable.shape), variable.dtype))
    return model


def served(model, blocks=3, copied=True):
    with inference_blocks(model, copied) as found:
        assert len(found) == blocks
        function = tf.function(
            lambda *inputs: model(dict(zip(NAMES, inputs, strict=True)), training=False),
            input_signature=[tf.TensorSpec([None, None], tf.int32)] * len(NAMES),
        ).get_concrete_function()
        held = [variable for block in found for variable in block.variables]
    return lambda inputs: function(*(tf.constant(inputs[name]) for name in NAMES)), held


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_same_function(method, small_encoder, tokens):
    model = model_of(small_encoder(), method)
    expected = model(tokens)
    function, held = served(model)
    assert held
    np.testing.assert_allclose(function(tokens), expected, atol=1e-5)
    np.testing.assert_array_equal(model(tokens), expected)  # It is as it was.
    assert not any("call" in vars(layer) for layer in model.submodules)


@pytest.mark.parametrize("method", [METHODS["houlsby"], METHODS["parallel"]])
def test_without_copies_it_follows_the_variables(method, small_encoder, tokens):
    model = model_of(small_encoder(), method)
    found = []

    @tf.function
    def function(inputs):
        with inference_blocks(model, copied=False) as blocks:
            found.extend(blocks)
            return model(inputs, training=False)

    before = function(tokens).numpy()
    assert len(found) == 3
    assert not any(block.variables for block in found)
    for variable in model.variables:
        variable.assign(variable * 1.1)
    expected = model(tokens)
    assert np.abs(before - expected).max() > 1e-3
    np.testing.assert_allclose(function(tokens), expected, atol=1e-5)


@pytest.mark.parametrize("cls", [networks.BertEncoderV2, networks.BertEncoder])
def test_of_the_first_position_alone(cls, small_encoder, tokens):
    model = model_of(small_encoder(cls, output_range=1), METHODS["houlsby"], "pooler")
    function, _ = served(model)
    np.testing.assert_allclose(function(tokens), model(tokens), atol=1e-5)


def test_of_a_block_that_layers_share(tokens):
    encoder = networks.AlbertEncoder(
        vocab_size=50, embedding_width=8, hidden_size=16, num_layers=3, num_attention_heads=2,
        max_sequence_length=32, intermediate_size=24, type_vocab_size=2, dict_outputs=True,
    )  # fmt: skip
    model = model_of(encoder, METHODS["houlsby"], "pooler")
    function, held = served(model, blocks=1)
    np.testing.assert_allclose(function(tokens), model(tokens), atol=1e-5)
    assert len(held) == 2 * 8  # Attention's two products, two more, and two adapters of two.


@pytest.fixture
def bfloat16():
    before = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    yield
    tf_keras.mixed_precision.set_global_policy(before)


def test_in_bfloat16_the_copies_are_of_that_precision(bfloat16, small_encoder, tokens):
    model = model_of(small_encoder(), METHODS["houlsby"])
    function, held = served(model)
    assert {variable.dtype for variable in held} == {tf.bfloat16}
    np.testing.assert_allclose(function(tokens), model(tokens), atol=0.05)


def test_in_bfloat16_it_is_as_close_to_float32_as_the_model(bfloat16, small_encoder, tokens):
    model = model_of(small_encoder(), METHODS["houlsby"])
    tf_keras.mixed_precision.set_global_policy("float32")
    exact = model_of(small_encoder(), METHODS["houlsby"])
    for ours, theirs in zip(model.variables, exact.variables, strict=True):
        ours.assign(theirs)
    function, _ = served(model)
    expected = exact(tokens)
    error = np.sqrt(np.mean(np.square(function(tokens) - expected)))
    assert error < 1.5 * np.sqrt(np.mean(np.square(model(tokens) - expected)))


def test_other_blocks_stay_as_they_are(small_encoder, tokens):
    model = model_of(small_encoder(norm_first=True), METHODS["houlsby"])
    function, held = served(model, blocks=0)
    assert not held
    np.testing.assert_allclose(function(tokens), model(tokens), atol=1e-6)


def test_a_call_that_stood_on_a_block_comes_back(small_encoder):
    encoder = small_encoder()
    block = encoder.transformer_layers[0]
    own = block.call
    object.__setattr__(block, "call", own)
    with inference_blocks(encoder, copied=True):
        assert block.call is not own
    assert vars(block)["call"] is own
