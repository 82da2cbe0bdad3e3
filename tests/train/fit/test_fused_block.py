import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.nlp.modeling import networks

from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from train.fit import islands
from train.fit.dropout import DropoutSeeds
from train.fit.fused_block import fuse
from train.fit.rematerialization import rematerialize
from train.objectives.model import build_classifier

WORD_IDS = np.array([[1, 5, 9, 2, 0, 0], [1, 7, 8, 9, 30, 2], [4, 7, 0, 0, 0, 0]], np.int32)
BATCH = {
    "input_word_ids": WORD_IDS,
    "input_mask": (WORD_IDS > 0).astype(np.int32),
    "input_type_ids": np.zeros_like(WORD_IDS),
}
LABELS = np.array([0, 2, 1], np.int32)
ENCODER = {
    "name": "encoder",
    "vocab_size": 40,
    "hidden_size": 32,
    "num_layers": 2,
    "num_attention_heads": 4,
    "max_sequence_length": 8,
    "type_vocab_size": 2,
    "inner_dim": 48,
    "inner_activation": "gelu",
    "output_dropout": 0.2,
    "attention_dropout": 0.3,
    "initializer": tf_keras.initializers.RandomNormal(stddev=0.2),
}


def make(fused, method="adapters", remat=False, config=None, **changes):
    """A classifier with weights of which each matters, and its encoder."""
    tf_keras.utils.set_random_seed(3)
    encoder = networks.BertEncoderV2(**{**ENCODER, **changes})
    insertion = AdapterConfig(**{"size": 4, **(config or {})}) if method == "adapters" else None
    pooling = "mean" if "output_range" not in changes else "pooler"
    model = build_classifier(encoder, 3, method=Method.named(method, insertion), pooling=pooling)
    if fused:
        fuse(encoder)
    if remat:
        rematerialize(encoder)
    random = np.random.default_rng(0)
    for variable in model.variables:
        variable.assign_add(random.normal(scale=0.1, size=variable.shape))
    model.dropout_seeds = DropoutSeeds(model, 0, tf.Variable(0, dtype=tf.int64))
    return model, encoder


def step(model):
    """Logits and gradients of a training step, in float32."""

    @tf.function
    def compute():
        with tf.GradientTape() as tape:
            logits = model(BATCH, training=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(LABELS, logits)
            loss = tf.reduce_mean(losses)
        return logits, tape.gradient(loss, model.trainable_variables)

    logits, gradients = compute()
    return logits.numpy(), [tf.convert_to_tensor(gradient).numpy() for gradient in gradients]


def check_equal(**case):
    (plain, _), (fused, _) = make(False, **case), make(True, **case)
    expected, expected_gradients = step(plain)
    logits, gradients = step(fused)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    assert max(np.abs(gradient).max() for gradient in expected_gradients) > 0.05
    for gradient, other in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, other, atol=1e-5)


@pytest.mark.parametrize(
    "case",
    [
        {},
        {"config": {"dropout": 0.2}},
        {"config": {"hidden_layers": 2, "activation": "gelu_tanh", "scale": "per_channel"}},
        {"config": {"scale": "learned"}, "norm_first": True},
        {"config": {"activation": "softmax", "places": ("feed_forward",)}},
        {"config": {"form": "after_norm", "places": ("feed_forward",)}, "output_range": 1},
        {"config": {"form": "parallel", "scale": 4, "layers": (1,)}},
        {"config": {"form": "parallel"}, "norm_first": True, "output_range": 2},
        {"config": {"form": "parallel_multiplicative", "places": ("attention",)}, "remat": True},
        {"inner_activation": "swish", "output_dropout": 0.0, "attention_dropout": 0.0},
        {"method": "full"},
    ],
    ids=(
        "sequential",
        "adapter_dropout",
        "hidden_layers",
        "scale",
        "softmax",
        "after_norm",
        "parallel",
        "norm_first",
        "remat",
        "no_dropout",
        "full",
    ),
)
def test_has_the_outputs_and_gradients_of_what_it_replaces(case):
    check_equal(**case)


def test_is_no_farther_from_float32_than_what_it_replaces():
    expected = step(make(False, method="full")[0])[1]
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")

    def distance(fused):
        gradients = step(make(fused, method="full")[0])[1]
        return np.sqrt(
            sum(np.square(g - e).sum() for g, e in zip(gradients, expected, strict=True))
            / sum(np.square(e).sum() for e in expected)
        )

    plain, fused = distance(False), distance(True)
    assert 1e-4 < fused <= plain < 0.1


def test_is_the_blocks_own_code_outside_of_training(monkeypatch):
    model, encoder = make(True)
    expected = make(False)[0](BATCH, training=False)

    def forbidden(*args):
        raise AssertionError("an island was called")

    for name in ("activate", "drop", "add_and_normalize", "attend"):
        monkeypatch.setattr(islands, name, forbidden)
    np.testing.assert_array_equal(model(BATCH, training=False), expected)
    # Keras's own generator draws without a key.
    for layer in encoder.submodules:
        if isinstance(layer, tf_keras.layers.Dropout):
            layer._random_generator = tf_keras.layers.Dropout(0.1)._random_generator
    model(BATCH, training=True)


def test_variables_checkpoints_and_saved_models_stay(tmp_path):
    (plain, _), (fused, _) = make(False), make(True)
    assert [v.name for v in fused.variables] == [v.name for v in plain.variables]
    names = []
    for index, model in enumerate((plain, fused)):
        path = tf.train.Checkpoint(model=model).write(str(tmp_path / f"checkpoint{index}"))
        names.append([name for name, _ in tf.train.list_variables(path)])
    assert names[0] == names[1]
    fused.export(tmp_path / "exported")
    loaded = tf.saved_model.load(tmp_path / "exported")
    served = loaded.serve([BATCH[name] for name in sorted(BATCH)])
    np.testing.assert_allclose(served, plain(BATCH, training=False), atol=1e-6)


REPLICAS = """
import sys

import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
sys.path.append(sys.argv[1])
import test_fused_block as test

strategy = tf.distribute.MirroredStrategy()
with strategy.scope():
    plain, fused = (test.make(fused)[0] for fused in (False, True))
results = []
for model in (plain, fused):
    run = tf.function(lambda: strategy.run(lambda: model(test.BATCH, training=True)))
    logits = [each.numpy() for each in strategy.experimental_local_results(run())]
    assert abs(logits[0] - logits[1]).max() > 1e-2
    results.append(logits)
for expected, received in zip(*results, strict=True):
    assert abs(expected - received).max() < 1e-5
"""


def test_each_replica_drops_what_it_dropped(run_command, tmp_path):
    done = run_command("-c", REPLICAS, str(pathlib.Path(__file__).parent), cwd=tmp_path)
    assert done.returncode == 0, done.err


def test_a_whole_step_is_compiled_by_xla():
    model, _ = make(True)
    expected = model(BATCH, training=True)
    compiled = tf.function(lambda: model(BATCH, training=True), jit_compile=True)
    np.testing.assert_allclose(compiled(), expected, atol=1e-5)
