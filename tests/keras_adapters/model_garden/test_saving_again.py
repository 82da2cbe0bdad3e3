"""Adapters and models of earlier versions, and one adapter after another in a live model."""

import importlib.util
import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import keras_adapters as ka
from keras_adapters import AdapterConfig, AdapterFileError, Method
from keras_adapters.adapter_file import read_adapter
from keras_adapters.bindings import host_of
from keras_adapters.model_garden import adapt, set_trainable
from keras_adapters.original import base_of
from keras_adapters.saving import collect
from keras_adapters.variables import encoder_variables

TOKENS = np.array([[1, 5, 9, 2, 0], [1, 7, 8, 3, 2]], np.int32)
INPUTS = {
    "input_word_ids": TOKENS,
    "input_mask": (TOKENS > 0).astype(np.int32),
    "input_type_ids": TOKENS % 2,
}


@pytest.fixture(scope="module")
def old(fixtures):
    return fixtures / "adapter_version_1"


@pytest.fixture(scope="module")
def maker(fixtures):
    path = fixtures / "make_adapter_version_1.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def plain(maker):
    """A model with the base of version 1's adapter, and its encoder."""
    encoder = maker.encoder()
    return maker.classifier(encoder), encoder


def values_of(encoder):
    return {name: v.numpy() for name, v in encoder_variables(encoder).items()}


def assert_equal_values(first, second):
    assert sorted(first) == sorted(second)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def disturb(variables, seed=0):
    rng = np.random.default_rng(seed)
    for variable in variables:
        variable.assign_add(0.3 * rng.normal(size=variable.shape).astype("float32"))


def test_version_1_loads_is_saved_again_and_comes_out(old, plain, maker, tmp_path):
    model, encoder = plain
    before = values_of(encoder)
    metadata = ka.load_adapter(old, model, encoder)
    assert metadata == {"task": "letters", "labels": ["a", "b", "c"]} == ka.read_metadata(old)
    assert encoder.method == Method(AdapterConfig(2))
    expected = np.load(old / "logits.npz")["logits"]
    np.testing.assert_allclose(model(INPUTS), expected, atol=1e-6)
    ka.save_adapter(tmp_path, model, encoder, metadata)
    again = maker.encoder()
    fresh = maker.classifier(again)
    assert ka.load_adapter(tmp_path, fresh, again) == metadata
    np.testing.assert_array_equal(fresh(INPUTS), model(INPUTS))
    ka.remove_adapter(encoder, model)
    assert_equal_values(values_of(encoder), before)


def test_version_1_knows_its_base_under_other_norms(old, plain, tmp_path):
    model, encoder = plain
    adapt(encoder, AdapterConfig(2))
    disturb(encoder.trainable_variables)
    ka.load_adapter(old, model, encoder)
    # One that holds no norms of its own.
    for name in ("adapter.json", "adapter.safetensors"):
        (tmp_path / name).write_bytes((old / name).read_bytes())
    tensors = read_adapter(old).tensors
    ka.remove_adapter(encoder, model)
    without = {name: v for name, v in tensors.items() if "layer_norm" not in name}
    frozen = {n: v for n, v in values_of(encoder).items() if n not in without}
    import safetensors.numpy

    from keras_adapters.fingerprint import digest_all

    safetensors.numpy.save_file(without, tmp_path / "adapter.safetensors")
    described = json.loads((old / "adapter.json").read_text())
    described["base_fingerprint"] = digest_all(frozen)
    (tmp_path / "adapter.json").write_text(json.dumps(described))
    ka.load_adapter(tmp_path, model, encoder)
    expected = model(INPUTS).numpy()
    ka.load_adapter(old, model, encoder)
    ka.load_adapter(tmp_path, model, encoder)  # The base's norms are back.
    np.testing.assert_array_equal(model(INPUTS), expected)
    encoder_variables(encoder)["pooler/bias"].assign_add(np.ones(8, "float32"))
    with pytest.raises(AdapterFileError, match="other pretrained weights"):
        ka.load_adapter(tmp_path, model, encoder)


def test_a_model_of_version_1_loads_and_says_what_it_does_not_know(old, plain, tmp_path):
    model = tf_keras.models.load_model(old / "model.keras")
    (encoder,) = (layer for layer in model.layers if hasattr(layer, "method"))
    expected = np.load(old / "logits.npz")["logits"]
    np.testing.assert_allclose(model(INPUTS), expected, atol=1e-6)
    assert base_of(encoder) is None
    with pytest.raises(ValueError, match=r"is not known(.|\n)*Load the pretrained encoder anew"):
        ka.save_adapter(tmp_path / "adapter", model, encoder)
    ka.load_adapter(old, *plain)
    ka.save_adapter(tmp_path / "present", *plain)
    with pytest.raises(ValueError, match="is not known"):
        ka.load_adapter(tmp_path / "present", model, encoder)
    ka.load_adapter(old, model, encoder)
    np.testing.assert_allclose(model(INPUTS), expected, atol=1e-6)


def saved_twice(model, encoder, path):
    """Saves two adapters of a model, and returns what it gives with each."""
    expected = {}
    for seed in (1, 2):
        disturb(model.trainable_variables, seed)
        ka.save_adapter(path / str(seed), model, encoder)
        expected[path / str(seed)] = model(INPUTS).numpy()
    return expected


@pytest.mark.parametrize("form", ["config", "model.keras", "saved_model", "clone"])
def test_what_was_reloaded_keeps_its_base(form, plain, tmp_path):
    model, encoder = plain
    base = base_of(encoder)
    adapt(encoder, AdapterConfig(2))
    disturb(model.trainable_variables)
    if form == "config":
        again = type(encoder).from_config(encoder.get_config())
        assert base_of(again) == base
        return
    if form == "clone":
        other = tf_keras.models.clone_model(model)
        other.set_weights(model.get_weights())
    else:
        model.save(tmp_path / form)
        other = tf_keras.models.load_model(tmp_path / form)
    (inside,) = (layer for layer in other.layers if hasattr(layer, "method"))
    assert base_of(inside) == base
    for path, expected in saved_twice(other, inside, tmp_path).items():
        ka.load_adapter(path, other, inside)
        np.testing.assert_array_equal(other(INPUTS), expected)
        ka.load_adapter(path, model, encoder)
        np.testing.assert_allclose(model(INPUTS), expected, atol=1e-6)


def test_a_live_model_swaps_without_being_traced_anew(plain, tmp_path):
    model, encoder = plain
    before = values_of(encoder)
    adapt(encoder, AdapterConfig(2))
    expected = saved_twice(model, encoder, tmp_path)
    set_trainable(model, encoder, Method(AdapterConfig(2), "nothing"))
    for name, value in before.items():
        encoder_variables(encoder)[name].assign(value)
    ka.save_adapter(tmp_path / "no norms", model, encoder)
    assert not any("layer_norm" in name for name in read_adapter(tmp_path / "no norms").tensors)
    expected[tmp_path / "no norms"] = model(INPUTS).numpy()
    traces = []

    @tf.function
    def answer(inputs):
        traces.append(1)
        return model(inputs)

    tensors = {name: tf.constant(value) for name, value in INPUTS.items()}
    predict = None
    for path in [*expected, *expected, *reversed(expected)]:
        ka.load_adapter(path, model, encoder)
        np.testing.assert_array_equal(model(INPUTS), expected[path])
        np.testing.assert_allclose(answer(tensors), expected[path], atol=1e-6)
        np.testing.assert_allclose(model.predict(INPUTS, verbose=0), expected[path], atol=1e-6)
        assert predict in (None, model.predict_function)
        predict = model.predict_function
    assert len(traces) == 1
    assert predict.experimental_get_tracing_count() == 1
    ka.remove_adapter(encoder, model)
    assert_equal_values(values_of(encoder), before)


def test_on_several_replicas(maker, tmp_path):
    devices = tf.config.list_logical_devices("CPU")
    strategy = tf.distribute.MirroredStrategy([device.name for device in devices[:2]])
    with strategy.scope():
        encoder = maker.encoder()
        model = maker.classifier(encoder)
        before = values_of(encoder)
        adapt(encoder, AdapterConfig(2))
    expected = saved_twice(model, encoder, tmp_path)
    # Inside of the scope and outside of it, onto a plain encoder and an adapted one.
    for path, value in expected.items():
        ka.load_adapter(path, model, encoder)
        np.testing.assert_allclose(model.predict(INPUTS, verbose=0), value, atol=1e-6)
    ka.remove_adapter(encoder, model)
    assert_equal_values(values_of(encoder), before)
    with strategy.scope():
        for path, value in expected.items():
            ka.load_adapter(path, model, encoder)
            np.testing.assert_allclose(model(INPUTS), value, atol=1e-6)


@pytest.mark.parametrize("name", ["full", "top_layers", "adapters, then all"])
def test_what_changed_more_than_norms_is_not_said_to_be_removed(name, maker, plain, tmp_path):
    model, encoder = plain
    if name == "adapters, then all":
        adapt(encoder, AdapterConfig(2))
        set_trainable(model, encoder, Method(AdapterConfig(2), "all"))
    else:
        adapt(encoder, Method.named(name, top_layers=1 if name == "top_layers" else None))
    disturb(model.trainable_variables)
    ka.save_adapter(tmp_path, model, encoder)
    other = maker.encoder()
    fresh = maker.classifier(other)
    ka.load_adapter(tmp_path, fresh, other)
    np.testing.assert_array_equal(fresh(INPUTS), model(INPUTS))
    for changed in (encoder, other):
        held = values_of(changed)
        with pytest.raises(ValueError, match=r"cannot be what it was(.|\n)*Load the pretrained"):
            ka.remove_adapter(changed)
        assert_equal_values(values_of(changed), held)
        assert changed.method == encoder.method


def test_a_file_of_more_layers_makes_those_train(maker, plain, tmp_path):
    model, encoder = plain
    adapt(encoder, Method(None, "top_layers", 2))
    disturb(model.trainable_variables)
    ka.save_adapter(tmp_path / "two", model, encoder)
    other = adapt(maker.encoder(), Method(None, "top_layers", 1))
    fresh = maker.classifier(other)
    ka.load_adapter(tmp_path / "two", fresh, other)
    assert other.method == encoder.method
    assert len(fresh.trainable_variables) == len(model.trainable_variables)
    ka.save_adapter(tmp_path / "again", fresh, other)
    np.testing.assert_array_equal(fresh(INPUTS), model(INPUTS))


def heads():
    """Heads with variables that are frozen, never trained, of other types, or in other models."""
    layers = tf_keras.layers

    class Odd(layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight("scale", ())
            self.steps = self.add_weight("steps", (), tf.int64, "zeros", trainable=False)
            self.mask = self.add_weight("mask", (2,), tf.bool, "zeros", trainable=False)

        def call(self, inputs):
            return inputs * self.scale + tf.cast(self.steps, inputs.dtype)

    class Block(tf_keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = layers.Dense(4), layers.Dense(4)
            self.loss_so_far = tf_keras.metrics.Mean()
            self.other = tf_keras.metrics.Mean()

        def call(self, inputs):
            return self.second(self.first(inputs))

    return {
        "batch norm": lambda: [layers.Dense(4), layers.BatchNormalization(), layers.Dense(3)],
        "frozen": lambda: [layers.Dense(4, trainable=False), layers.Dense(3)],
        "scalars, integers and booleans": lambda: [Odd(), layers.Dense(3)],
        "nested": lambda: [
            tf_keras.Sequential([layers.Dense(4), layers.Dense(4)]),
            layers.Dense(3),
        ],
        "subclassed": lambda: [Block(), Block(), layers.Dense(3)],
        "recurrent": lambda: [
            layers.Reshape((2, 4)),
            layers.Bidirectional(layers.LSTM(3)),
            layers.Dense(3),
        ],
    }


@pytest.mark.parametrize("kind", heads())
def test_heads_of_every_kind_come_back_in_another_process(kind, maker, tmp_path):
    def make():
        encoder = adapt(maker.encoder(), AdapterConfig(2))
        hidden = encoder(encoder.inputs)["pooled_output"]
        for layer in heads()[kind]():
            hidden = layer(hidden)
        return tf_keras.Model(encoder.inputs, hidden), encoder

    model, encoder = make()
    model(INPUTS, training=True)
    held = {id(v) for v in encoder.variables}
    of_head = [v for v in model.variables if id(v) not in held]
    for variable in of_head:
        if variable.dtype.is_floating:
            variable.assign_add(tf.fill(variable.shape, 0.1))
        else:
            variable.assign(tf.ones_like(variable))
    ka.save_adapter(tmp_path, model, encoder)
    tf_keras.layers.Dense(1), tf_keras.layers.LSTM(2)  # As another process may have before.
    fresh, inside = make()
    ka.load_adapter(tmp_path, fresh, inside)
    np.testing.assert_array_equal(fresh(INPUTS), model(INPUTS))
    names = read_adapter(tmp_path).head_tensors
    assert not any("total" in name or "count" in name for name in names)


def test_two_variables_of_one_name_are_refused_before_training(plain, tmp_path):
    _, encoder = plain
    adapt(encoder, AdapterConfig(2))

    class Twins(tf_keras.layers.Layer):
        def build(self, shape):
            self.one, self.two = tf.Variable(1.0), tf.Variable(2.0)

        def call(self, inputs):
            return inputs * self.one + self.two

    pooled = encoder(encoder.inputs)["pooled_output"]
    model = tf_keras.Model(encoder.inputs, Twins()(pooled))
    with pytest.raises(ValueError, match=r"two variables(.|\n)*distinct names"):
        collect(model, encoder)


def test_mixed_precision_is_the_same_base(maker, plain, tmp_path):
    model, encoder = plain
    adapt(encoder, AdapterConfig(2))
    disturb(model.trainable_variables)
    ka.save_adapter(tmp_path, model, encoder, dtype="bfloat16")
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    inside = maker.encoder()
    fresh = maker.classifier(inside)
    ka.load_adapter(tmp_path, fresh, inside)
    assert base_of(inside) == base_of(encoder)
    narrow = {name: v.numpy() for name, v in encoder_variables(inside).items()}
    for name, value in values_of(encoder).items():
        np.testing.assert_allclose(narrow[name], value, rtol=2**-8, atol=1e-6)
    ka.remove_adapter(inside, fresh)


def test_values_beyond_the_models_type_are_refused(maker, plain, tmp_path):
    import dataclasses

    from keras_adapters.adapter_file import write_adapter

    model, encoder = plain
    adapt(encoder, AdapterConfig(2))
    adapter = collect(model, encoder)
    wide = {**adapter.tensors, "head/logits/bias": np.full(3, 1e300)}
    write_adapter(tmp_path, dataclasses.replace(adapter, tensors=wide))
    before = [weight.tobytes() for weight in model.get_weights()]
    with pytest.raises(AdapterFileError, match="head/logits/bias holds values beyond float32"):
        ka.load_adapter(tmp_path, model, encoder)
    assert [weight.tobytes() for weight in model.get_weights()] == before


def test_adapters_of_an_absurd_size_take_no_memory(maker, plain, tmp_path):
    import dataclasses

    from keras_adapters.adapter_file import write_adapter

    model, encoder = plain
    adapt(encoder, AdapterConfig(2))
    huge = dataclasses.replace(collect(model, encoder), method=Method(AdapterConfig(2**31 - 1)))
    write_adapter(tmp_path, huge)
    inside = maker.encoder()
    with pytest.raises(AdapterFileError, match=r"shape of layer_0/attention/adapter/down/kernel"):
        ka.load_adapter(tmp_path, None, inside)
    assert not hasattr(inside, "method")


def test_other_bases_are_told(plain, tmp_path):
    model, encoder = plain
    adapt(encoder, AdapterConfig(2))
    ka.save_adapter(tmp_path, model, encoder)
    for changes, told in (
        ({"num_layers": 3}, "layers: 3, not 2"),
        ({"norm_first": True}, "norm_first: True, not False"),
        ({"inner_activation": "relu"}, "activation: 'relu', not 'gelu'"),
        ({"num_attention_heads": 4}, "heads: 4, not 2"),
    ):
        config = {**maker_config(encoder), **changes}
        other = host_of(encoder).encoder_class(**config)
        other(other.inputs)
        with pytest.raises(AdapterFileError, match=f"another pretrained encoder(.|\n)*{told}"):
            ka.load_adapter(tmp_path, None, other)


def maker_config(encoder):
    return {
        "vocab_size": 20,
        "hidden_size": 8,
        "num_layers": 2,
        "num_attention_heads": 2,
        "max_sequence_length": 16,
        "type_vocab_size": 2,
        "inner_dim": 12,
        "inner_activation": "gelu",
    }
