"""Models that are adapted at layers that the user names, in use."""

import keras
import numpy as np
import pytest

import keras_adapters as ka
from keras_adapters import AdapterConfig, Method
from keras_adapters.bindings import host_of
from keras_adapters.variables import encoder_variables


@keras.saving.register_keras_serializable("test_sites_adapted")
class Encoder(keras.Model):
    """A model of a class, with a variable of its own beside layers that hold others."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.up = keras.layers.Dense(6, "relu")
        self.normal = keras.layers.BatchNormalization()
        self.down = keras.layers.Dense(4)
        self.layer_norm = keras.layers.LayerNormalization()
        self.shift = self.add_weight(shape=(4,), name="shift")

    def call(self, x, training=None):
        y = self.down(self.normal(self.up(x), training=training))
        return self.layer_norm(x + y) + self.shift


INPUTS = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")


def made():
    keras.utils.set_random_seed(0)
    model = Encoder()
    model(INPUTS)
    return model


def answers(model):
    return keras.ops.convert_to_numpy(model(INPUTS))


def values_of(model):
    return {name: v.numpy() for name, v in encoder_variables(model).items()}


def trained(model):
    ids = {id(v) for v in model.trainable_variables}
    return {name for name, v in encoder_variables(model).items() if id(v) in ids}


ADAPTERS = {
    f"layer_{index}/{name}/adapter/{leaf}"
    for index, name in enumerate(("up", "normal", "down"))
    for leaf in ("down/kernel", "down/bias", "up/kernel", "up/bias")
}
NORMS = {"model/layer_norm/gamma", "model/layer_norm/beta"}


def test_what_is_frozen_stays_and_adapters_train_also_after_a_batch_norm(tmp_path):
    model = made()
    before = answers(model)
    ka.adapt(model, AdapterConfig(2), sites=["down", "up", "normal"])
    assert 0 < np.abs(answers(model) - before).max() < 1e-2
    assert trained(model) == ADAPTERS | NORMS
    model.compile(keras.optimizers.SGD(0.5), "mse")
    values = values_of(model)
    model.fit(INPUTS, INPUTS[:, ::-1], verbose=0)
    after = values_of(model)
    changed = {name for name in values if not np.array_equal(values[name], after[name])}
    # The moving statistics are among what stays.
    assert "model/normal/moving_mean" in values
    assert changed == ADAPTERS | NORMS

    ka.save_adapter(tmp_path / "adapter", model, model)
    other = made()
    ka.load_adapter(
        tmp_path / "adapter", None, ka.adapt(other, AdapterConfig(2), ["up", "*n", "normal"])
    )
    np.testing.assert_allclose(answers(other), answers(model), atol=1e-6)
    ka.remove_adapter(model)
    assert type(model) is Encoder
    np.testing.assert_array_equal(answers(model), before)


def test_a_reloaded_model_is_adapted_and_frozen_as_it_was(tmp_path):
    model = ka.adapt(made(), AdapterConfig(2, init_stddev=0.5), sites=["up", "normal", "down"])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(answers(again), answers(model), atol=1e-6)
    assert trained(again) == ADAPTERS | NORMS
    assert host_of(again).architecture(again) == host_of(model).architecture(model)


def test_layers_choose_among_the_sites_and_the_top_ones_train():
    model = ka.adapt(made(), AdapterConfig(2, layers=(0, 2)), sites=["up", "normal", "down"])
    adapters = {name for name in encoder_variables(model) if "/adapter/" in name}
    assert {name.split("/")[1] for name in adapters} == {"up", "down"}
    model = ka.adapt(made(), Method.named("top_layers", top_layers=1), sites=["up", "down"])
    assert trained(model) == {"model/down/kernel", "model/down/bias"}


def test_a_model_is_as_it_was_where_its_sites_or_settings_are_refused():
    model = made()
    for config, sites, message in (
        (AdapterConfig(2), "nowhere", "matches none"),
        (AdapterConfig(2, form="parallel"), "down", 'must be "sequential"'),
        (AdapterConfig(2, layers=(1,)), "down", "layers"),
    ):
        with pytest.raises(ValueError, match=message):
            ka.adapt(model, config, sites=sites)
        assert type(model) is Encoder
        assert "_sites_host" not in vars(model)
        assert len(model.trainable_variables) == len(model.weights) - 2
