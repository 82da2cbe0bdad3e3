import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from keras_adapters.converters.load import load_encoder
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from keras_adapters.summary import count_parameters
from train.objectives.model import build_classifier, build_span_model, split_classifier

# Trained parameters on the packaged encoder, d = 384, 6 blocks, 8 classes:
# adapters of m: 12 (2md + d + m); LayerNorms: 13 * 2d; head: 8d + 8.
NORMS, HEAD, BLOCK, POOLER = 9_984, 3_080, 1_774_464, 147_840
PINNED = {
    ("adapters", 64): 12 * 49_600 + NORMS + HEAD,
    ("adapters", 8): 12 * 6_536 + NORMS + HEAD,
    ("full", None): 22_713_216 + HEAD,
    ("top_layers", 2): 2 * BLOCK + POOLER + HEAD,
    ("feature_based", None): HEAD,
    ("layer_norm", None): NORMS + HEAD,
}


def method_of(name, number):
    if name == "adapters":
        return Method(AdapterConfig(number))
    return Method.named(name, top_layers=number)


@pytest.mark.parametrize(("variant", "count"), PINNED.items())
def test_trained_parameters(variant, count, minilm):
    method, number = variant
    encoder = load_encoder(minilm.checkpoint, output_range=1)
    model = build_classifier(
        encoder,
        8,
        method_of(method, number),
    )
    assert count_parameters(model, encoder).trained == count


def test_logits_are_float32_under_bfloat16(minilm):
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    model = build_classifier(load_encoder(minilm.checkpoint), 3, Method(AdapterConfig(4)))
    ids = np.array([[101, 7592, 102]], np.int32)
    inputs = {
        "input_word_ids": ids,
        "input_mask": np.ones_like(ids),
        "input_type_ids": np.zeros_like(ids),
    }
    logits = model(inputs)
    assert (logits.shape, logits.dtype) == ((1, 3), tf.float32)
    assert {v.dtype for v in model.variables} == {tf.float32}


def test_one_seed_gives_one_start(minilm):
    values = []
    for seed in (0, 0, 1):
        tf_keras.utils.set_random_seed(seed)
        model = build_classifier(load_encoder(minilm.checkpoint), 3, Method(AdapterConfig(4)))
        values.append([v.numpy() for v in model.trainable_variables])
    assert all(map(np.array_equal, values[0], values[1]))
    assert not all(map(np.array_equal, values[0], values[2]))


def test_mean_pooling_is_the_mean_over_real_tokens(minilm):
    encoder = load_encoder(minilm.checkpoint)
    model = build_classifier(encoder, 3, Method.named("full"), pooling="mean")
    ids = np.array([[101, 7592, 102, 0, 0], [101, 7592, 2088, 999, 102]], np.int32)
    inputs = {
        "input_word_ids": ids,
        "input_mask": (ids > 0).astype(np.int32),
        "input_type_ids": np.zeros_like(ids),
    }
    states = encoder(inputs)["sequence_output"].numpy()
    means = np.stack([states[0, :3].mean(axis=0), states[1].mean(axis=0)])
    assert not encoder.pooler_layer.trainable_variables  # It would get no gradient.
    kernel, bias = model.get_layer("logits").get_weights()
    np.testing.assert_allclose(model(inputs), means @ kernel + bias, atol=1e-5)


# Adapters of m: 12 (2md + d + m), as above; the head is 2d + 2, and the pooler is left out.
SPAN_HEAD = 770
SPAN_PINNED = {
    ("adapters", 2): 12 * 1_922 + NORMS + SPAN_HEAD,
    ("adapters", 8): 12 * 6_536 + NORMS + SPAN_HEAD,
    ("adapters", 64): 12 * 49_600 + NORMS + SPAN_HEAD,
    ("adapters", 256): 12 * 197_248 + NORMS + SPAN_HEAD,
    ("full", None): 22_713_216 - POOLER + SPAN_HEAD,
    ("top_layers", 2): 2 * BLOCK + SPAN_HEAD,
    ("feature_based", None): SPAN_HEAD,
    ("layer_norm", None): NORMS + SPAN_HEAD,
}


@pytest.mark.parametrize(("variant", "count"), SPAN_PINNED.items())
def test_trained_parameters_of_span_models(variant, count, minilm):
    method, number = variant
    encoder = load_encoder(minilm.checkpoint)
    model = build_span_model(
        encoder,
        method_of(method, number),
    )
    assert count_parameters(model, encoder).trained == count


@pytest.mark.parametrize(("policy", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 1e-2)])
def test_span_logits_are_a_dense_layer_on_each_position(policy, tolerance, minilm):
    tf_keras.mixed_precision.set_global_policy(policy)
    encoder = load_encoder(minilm.checkpoint)
    model = build_span_model(encoder, Method.named("full"))
    ids = np.array([[101, 7592, 102, 2088, 102]], np.int32)
    inputs = {
        "input_word_ids": ids,
        "input_mask": np.ones_like(ids),
        "input_type_ids": np.array([[0, 0, 0, 1, 1]], np.int32),
    }
    outputs = model(inputs)
    states = tf.cast(encoder(inputs)["sequence_output"], tf.float32).numpy()
    kernel, bias = model.get_layer("logits").get_weights()
    for column, name in enumerate(("start_logits", "end_logits")):
        assert outputs[name].dtype == tf.float32
        expected = states @ kernel[:, column] + bias[column]
        np.testing.assert_allclose(outputs[name], expected, atol=tolerance)


@pytest.mark.parametrize("build", [build_classifier, build_span_model])
def test_a_fixed_encoder_drops_nothing_in_training(build, small_encoder, tokens):
    settings = {"num_outputs": 3} if build is build_classifier else {}
    dropouts = {"output_dropout": 0.5, "attention_dropout": 0.5}
    for name, is_fixed in (("feature_based", True), ("layer_norm", False)):
        encoder = small_encoder(**dropouts)
        model = build(encoder, method=Method.named(name), dropout=0.0, **settings)
        training, inference = (
            tf.nest.flatten(model(tokens, training=training)) for training in (True, False)
        )
        same = [np.allclose(*pair, atol=1e-6) for pair in zip(training, inference, strict=True)]
        assert all(same) if is_fixed else not any(same)
        assert encoder.get_config()["output_dropout"] == 0.5


@pytest.mark.parametrize("pooling", ["pooler", "mean"])
def test_a_classifier_is_its_features_and_its_head(pooling, small_encoder, tokens):
    encoder = small_encoder()
    model = build_classifier(encoder, 3, Method.named("feature_based"), pooling=pooling)
    features, head = split_classifier(model)
    pooled = features(tokens)
    assert pooled.shape == (2, 16)
    np.testing.assert_allclose(head({"features": pooled}), model(tokens), atol=1e-6)
    assert [id(v) for v in head.trainable_variables] == [id(v) for v in model.trainable_variables]
