"""What the layer owes under both Kerases; the JAX backend runs in a process of its own."""

import math
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import keras_adapters
from keras_adapters import model_garden

BOUND = pytest.mark.parametrize(
    ("layer_class", "kit"),
    [(keras_adapters.BottleneckAdapter, keras), (model_garden.BottleneckAdapter, tf_keras)],
    ids=["keras3", "tf_keras"],
)
# Size, width and the number of parameters 2md + d + m.
PINNED = [(1, 8, 25), (8, 16, 280), (64, 768, 99_136), (64, 1024, 132_160)]


def random_inputs(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@BOUND
@pytest.mark.parametrize(("size", "width", "count"), PINNED)
def test_parameter_count(layer_class, kit, size, width, count):
    layer = layer_class(size)
    layer.build((None, 4, width))
    assert layer.count_params() == count


@BOUND
@pytest.mark.parametrize("shape", [(3, 8), (2, 5, 8), (2, 3, 4, 8)])
def test_output_is_input_plus_bottleneck(layer_class, kit, shape):
    layer = layer_class(4, activation="relu", init_stddev=0.5)
    inputs = random_inputs(*shape)
    outputs = np.array(layer(inputs))
    down, down_bias, up, up_bias = (np.array(w) for w in layer.get_weights())
    expected = inputs + np.maximum(inputs @ down + down_bias, 0) @ up + up_bias
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)


# Settings, and what they add to the 2md + d + m = 76 parameters of m = 4, d = 8: trained, and not.
VARIANTS = [
    ({}, 0, 0),
    ({"form": "after_norm"}, 0, 0),
    ({"form": "parallel"}, 0, 0),
    ({"form": "parallel_multiplicative"}, 0, 0),
    ({"norm": "layer"}, 2 * 8, 0),
    ({"norm": "batch"}, 2 * 8, 2 * 8),
    ({"hidden_layers": 3}, 2 * (16 + 4), 0),
    ({"scale": 4}, 0, 0),
    ({"scale": "learned"}, 1, 0),
    ({"scale": "per_channel"}, 8, 0),
    ({"gate": True}, 8 + 1, 0),
    (
        {
            **{"form": "parallel_multiplicative", "norm": "layer", "hidden_layers": 2},
            **{"scale": "per_channel", "gate": True, "reduction_factor": 2, "size": None},
        },
        16 + 20 + 8 + 9,
        0,
    ),
]
each_variant = pytest.mark.parametrize(
    ("settings", "trained", "kept"), VARIANTS, ids=[str(settings) for settings, *_ in VARIANTS]
)


def formula(settings, weights, inputs, output):
    """What an adapter computes in inference, by its weights' names; its activation is tanh."""

    def normalised(x):
        if settings.get("norm") == "layer":
            mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        elif settings.get("norm") == "batch":
            mean, variance = weights["norm/moving_mean"], weights["norm/moving_variance"]
        else:
            return x
        x = (x - mean) / np.sqrt(variance + 1e-5)
        return weights["norm/gamma"] * x + weights["norm/beta"]

    hidden = normalised(inputs)
    inside = [f"hidden_{index}" for index in range(1, settings.get("hidden_layers", 1))]
    for name in ("down", *inside):
        hidden = np.tanh(hidden @ weights[f"{name}/kernel"] + weights[f"{name}/bias"])
    change = hidden @ weights["up/kernel"] + weights["up/bias"]
    scale = settings.get("scale", 1)
    change = change * (weights["scale"] if isinstance(scale, str) else scale)
    if settings.get("gate"):
        gates = 1 / (1 + np.exp(-inputs @ weights["gate/kernel"] - weights["gate/bias"]))
        change = change * gates.mean(1, keepdims=True)
    if settings.get("form") == "parallel_multiplicative":
        return output * (1 + change)
    return output + change


def named_weights(layer):
    """An adapter's weights by the names of their layers in it."""
    parts = [layer.norm_layer, layer.down, *layer.hidden, layer.up, layer.gate_layer]
    named = {"scale": layer.scale_weight} if isinstance(layer.scale, str) else {}
    for part in (part for part in parts if part is not None):
        for weight in part.weights:
            named[f"{part.name}/{weight.name.split('/')[-1].removesuffix(':0')}"] = weight
    assert len(named) == len(layer.weights)
    return named


@BOUND
@each_variant
def test_each_variant_is_its_formula_with_so_many_parameters(
    layer_class, kit, settings, trained, kept
):
    layer = layer_class(**{"size": 4, "activation": "tanh", **settings})
    inputs, output = random_inputs(2, 5, 8), 3 * random_inputs(2, 5, 8)[::-1]
    sequential = settings.get("form", "sequential") == "sequential"
    given = (inputs,) if sequential else (inputs, output)
    output = inputs if sequential else output
    # A new one is nearly the identity.
    tolerance = 0.05 * (settings["scale"] if settings.get("scale") == 4 else 1)
    np.testing.assert_allclose(np.array(layer(*given)), output, atol=tolerance)
    count = sum(np.size(weight) for weight in layer.get_weights())
    not_trained = sum(np.prod(w.shape) for w in layer.non_trainable_weights)
    assert (count - not_trained, not_trained) == (76 + trained, kept)
    rng = np.random.default_rng(1)
    values = {}
    for name, weight in named_weights(layer).items():
        values[name] = np.abs(rng.normal(size=weight.shape)).astype("float32") + 0.1
        weight.assign(values[name])
    expected = formula(settings, values, inputs, output)
    np.testing.assert_allclose(np.array(layer(*given)), expected, rtol=1e-4, atol=1e-4)
    again = layer_class.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    again.build(inputs.shape)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(np.array(again(*given)), np.array(layer(*given)))


@BOUND
def test_batch_norm_keeps_moments_in_training_only(layer_class, kit):
    layer = layer_class(4, norm="batch")
    inputs = 2 + 3 * random_inputs(64, 5, 8)
    layer(inputs)
    names = ("norm/moving_mean", "norm/moving_variance")
    mean, variance = (np.array(named_weights(layer)[name]) for name in names)
    assert (mean == 0).all()
    assert (variance == 1).all()
    layer(inputs, training=True)
    mean, variance = (np.array(named_weights(layer)[name]) for name in names)
    np.testing.assert_allclose(mean, 0.1 * inputs.mean((0, 1)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * inputs.var((0, 1)), rtol=1e-3)
    layer.trainable = False
    layer(inputs, training=True)
    np.testing.assert_array_equal(np.array(named_weights(layer)[names[0]]), mean)


@BOUND
def test_what_an_adapter_changes_is_given_unless_it_is_its_input(layer_class, kit):
    inputs = random_inputs(2, 5, 8)
    with pytest.raises(ValueError, match=r"`output`.*form='parallel', output=None"):
        layer_class(4, form="parallel")(inputs)
    with pytest.raises(ValueError, match=r"`inputs` alone.*form='sequential'"):
        layer_class(4)(inputs, inputs)


@BOUND
def test_a_parallel_adapter_in_a_functional_model(layer_class, kit, tmp_path):
    inputs = kit.Input((5, 8))
    hidden = kit.layers.Dense(8)(inputs)
    hidden = layer_class(
        4, form="parallel", scale="learned", norm="batch", hidden_layers=2, gate=True
    )(inputs, hidden)
    model = kit.Model(inputs, hidden)
    model.save(tmp_path / "model.keras")
    again = (keras.saving if kit is keras else tf_keras.models).load_model(tmp_path / "model.keras")
    x = random_inputs(2, 5, 8)
    np.testing.assert_allclose(np.array(again(x)), np.array(model(x)), rtol=1e-6)


@BOUND
@pytest.mark.parametrize("stddev", [1e-2, 1e-3])
def test_kernels_start_truncated_normal_and_biases_zero(layer_class, kit, stddev):
    layer = layer_class(256, init_stddev=stddev)
    layer.build((None, 256))
    down, down_bias, up, up_bias = layer.get_weights()
    for kernel in (down, up):
        assert np.abs(kernel).max() <= 2 * stddev
        # A normal distribution cut at two standard deviations keeps 0.88 of its own.
        assert math.isclose(kernel.std(), 0.88 * stddev, rel_tol=0.02)
    assert not np.any(down_bias)
    assert not np.any(up_bias)
    assert not np.array_equal(down, up)


@BOUND
def test_gelu_is_erf_and_gelu_tanh_is_not(layer_class, kit):
    inputs = random_inputs(2, 6) * 2
    outputs = {}
    for name in ("gelu", "gelu_tanh"):
        layer = layer_class(6, activation=name)
        layer.build(inputs.shape)
        layer.set_weights([np.eye(6), np.zeros(6), np.eye(6), np.zeros(6)])
        outputs[name] = np.array(layer(inputs)) - inputs
    erf = np.array([[0.5 * x * (1 + math.erf(x / math.sqrt(2))) for x in row] for row in inputs])
    tanh = 0.5 * inputs * (1 + np.tanh(math.sqrt(2 / math.pi) * (inputs + 0.044715 * inputs**3)))
    np.testing.assert_allclose(outputs["gelu"], erf, atol=1e-6)
    np.testing.assert_allclose(outputs["gelu_tanh"], tanh, atol=1e-6)
    assert np.abs(erf - tanh).max() > 1e-5


@BOUND
def test_dropout_acts_in_training_only(layer_class, kit):
    inputs = random_inputs(4, 32)
    layer = layer_class(16, init_stddev=1.0, dropout=0.5)
    still = np.array(layer(inputs, training=False))
    np.testing.assert_array_equal(still, np.array(layer(inputs)))
    unchanged = np.array(layer(inputs, training=True)) == inputs
    assert 0.3 < unchanged.mean() < 0.7


@BOUND
@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("size", 0),
        ("size", -3),
        ("size", 2.0),
        ("size", np.array(4)),
        ("init_stddev", 0),
        ("init_stddev", None),
        ("dropout", 1),
        ("dropout", "a"),
        ("activation", "no_such_activation"),
        ("size", None),
        ("size", (4, 4)),
        ("reduction_factor", 2),
        ("form", "serial"),
        ("norm", "group"),
        ("hidden_layers", 0),
        ("scale", "channel"),
        ("scale", 0),
        ("gate", 1),
    ],
)
def test_impossible_arguments_are_refused_by_name(layer_class, kit, argument, value):
    with pytest.raises(ValueError, match=f"`{argument}`"):
        layer_class(**{"size": 4, argument: value})


@BOUND
def test_unknown_width_is_refused(layer_class, kit):
    for shape in ((None, 5, None), (), None, [(2, 8), (2, 8)], {"a": (2, 8)}):
        with pytest.raises(ValueError, match="last dimension"):
            layer_class(4).build(shape)


@BOUND
@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "tanh", "callable", None])
def test_config_round_trip(layer_class, kit, activation):
    if activation == "callable":
        activation = kit.activations.softplus
    layer = layer_class(4, activation=activation, init_stddev=0.3, dropout=0.2, name="here")
    inputs = random_inputs(2, 8)
    again = layer_class.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.size, again.init_stddev, again.dropout, again.name) == (4, 0.3, 0.2, "here")
    layer.build(inputs.shape)
    again.build(inputs.shape)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(np.array(again(inputs)), np.array(layer(inputs)))


def small_model(layer_class, kit):
    inputs = kit.Input((5, 8))
    hidden = layer_class(4, init_stddev=0.3, name="adapter")(inputs)
    return kit.Model(inputs, kit.layers.Dense(3)(hidden))


@BOUND
def test_model_saves_and_reloads(layer_class, kit, tmp_path):
    model = small_model(layer_class, kit)
    inputs = random_inputs(2, 5, 8)
    expected = np.array(model(inputs))
    model.save(tmp_path / "model.keras")
    again = (keras.saving if kit is keras else tf_keras.models).load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(np.array(again(inputs)), expected, rtol=1e-6)
    weights = tmp_path / "w.weights.h5"
    model.save_weights(weights)
    fresh = small_model(layer_class, kit)
    fresh.load_weights(weights)
    np.testing.assert_allclose(np.array(fresh(inputs)), expected, rtol=1e-6)


@BOUND
def test_an_activation_that_is_a_layer_is_saved_with_its_variables(layer_class, kit, tmp_path):
    inputs = kit.Input((5, 8))
    layer = layer_class(4, activation=kit.layers.PReLU(shared_axes=[1]), init_stddev=0.3)
    model = kit.Model(inputs, layer(inputs))
    assert len(model.trainable_variables) == 5
    for variable in model.trainable_variables:
        variable.assign(np.full(variable.shape, 0.3, "float32"))
    model.save(tmp_path / "model.keras")
    again = (keras.saving if kit is keras else tf_keras.models).load_model(tmp_path / "model.keras")
    values = random_inputs(2, 5, 8)
    np.testing.assert_allclose(np.array(again(values)), np.array(model(values)), rtol=1e-6)
    again.layers[-1].trainable = False
    assert not again.trainable_variables


@BOUND
def test_saved_model_and_checkpoint(layer_class, kit, tmp_path):
    model = small_model(layer_class, kit)
    inputs = random_inputs(2, 5, 8)
    expected = np.array(model(inputs))
    model.export(str(tmp_path / "exported"))
    loaded = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(loaded.serve(inputs), expected, rtol=1e-5)
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "ckpt"))
    fresh = small_model(layer_class, kit)
    tf.train.Checkpoint(model=fresh).read(path).assert_consumed()
    np.testing.assert_allclose(np.array(fresh(inputs)), expected, rtol=1e-6)


@BOUND
def test_mixed_precision_computes_in_bfloat16_with_float32_variables(layer_class, kit):
    layer = layer_class(4, dtype="mixed_bfloat16")
    outputs = layer(random_inputs(2, 8))
    assert "bfloat16" in str(outputs.dtype)
    assert {tf.as_dtype(v.dtype) for v in layer.trainable_variables} == {tf.float32}


@BOUND
def test_mask_passes_through(layer_class, kit):
    inputs = kit.Input((None,), dtype="int32")
    embedded = kit.layers.Embedding(10, 8, mask_zero=True)(inputs)
    model = kit.Model(inputs, kit.layers.LSTM(2)(layer_class(4)(embedded)))
    padded, cut = np.array([[3, 4, 0, 0]]), np.array([[3, 4]])
    np.testing.assert_allclose(np.array(model(padded)), np.array(model(cut)), rtol=1e-5)


@BOUND
@pytest.mark.parametrize("frozen", ["in the constructor", "before build", "after build"])
def test_what_is_frozen_stays_frozen_in_a_model_and_in_files(layer_class, kit, frozen, tmp_path):
    layer = layer_class(4, **({"trainable": False} if frozen == "in the constructor" else {}))
    if frozen == "before build":
        layer.trainable = False
    inputs = kit.Input((5, 8))
    model = kit.Model(inputs, kit.layers.Dense(3)(layer(inputs)))
    if frozen == "after build":
        layer.trainable = False
    model.save(tmp_path / "model.keras")
    load = (keras.saving if kit is keras else tf_keras.models).load_model
    for each in (model, load(tmp_path / "model.keras"), kit.models.clone_model(model)):
        (adapter,) = (inner for inner in each.layers if isinstance(inner, layer_class))
        assert not adapter.trainable
        assert not adapter.down.trainable
        assert not adapter.up.trainable
        assert not adapter.trainable_variables
        assert len(each.trainable_variables) == 2
        before = [np.array(weight) for weight in adapter.get_weights()]
        each.compile("sgd", "mse")
        each.fit(random_inputs(4, 5, 8), random_inputs(4, 5, 3), verbose=0)
        for first, second in zip(before, adapter.get_weights(), strict=True):
            np.testing.assert_array_equal(first, second)
        adapter.trainable = True
        assert len(each.trainable_variables) == 6


@BOUND
def test_numbers_of_numpy_become_pythons(layer_class, kit):
    layer = layer_class(np.int64(4), init_stddev=np.float32(0.5), dropout=np.float16(0.25))
    assert layer.get_config().items() >= {"size": 4, "init_stddev": 0.5, "dropout": 0.25}.items()
    assert type(layer.size) is int
    assert {type(layer.init_stddev), type(layer.dropout)} == {float}


@BOUND
@pytest.mark.parametrize(
    "activation",
    [
        *("get", "serialize", "deserialize", "glu", "threshold", "keras_export", "ReLU", "PReLU"),
        *("", 3, [], {}, len, np.mean, lambda x: x[..., :1]),
    ],
)
def test_what_is_no_activation_is_refused_at_once(layer_class, kit, activation):
    with pytest.raises(ValueError, match="`activation`"):
        layer_class(4, activation=activation)


JAX_PROGRAM = """
import sys
import keras, numpy as np
import keras_adapters
assert keras.backend.backend() == "jax"
inputs = keras.Input((5, 8))
hidden = keras_adapters.BottleneckAdapter(4, init_stddev=0.3)(inputs)
model = keras.Model(inputs, keras.layers.Dense(3)(hidden))
assert "tensorflow" not in sys.modules  # Keras itself imports it later, for `fit` and saving.
x = np.random.default_rng(0).normal(size=(16, 5, 8)).astype("float32")
y = x[..., :3]
model.compile("adam", "mse")
before, *_, after = model.fit(x, y, epochs=20, verbose=0).history["loss"]
assert after < before, (before, after)
path = sys.argv[1]
model.save(path)
np.testing.assert_allclose(model(x), keras.saving.load_model(path)(x), rtol=1e-6)
layer = keras_adapters.BottleneckAdapter(4, dtype="mixed_bfloat16")
assert layer(x).dtype == "bfloat16", layer(x).dtype
print("parameters", layer.count_params())
"""


def test_jax_backend_trains_saves_and_needs_no_tensorflow(tmp_path):
    # The TPU's compiler may be installed; JAX need not look for a TPU.
    jax = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    environment = {**os.environ, **jax, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", JAX_PROGRAM, str(tmp_path / "m.keras")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["parameters", "76"]
