import json

import numpy as np
import pytest
import safetensors.numpy
import tf_keras

from keras_adapters import AdapterConfig, Method, adapter_file
from keras_adapters.fingerprint import fingerprint
from keras_adapters.model_garden import add_adapters
from keras_adapters.model_garden.freezing import set_trainable
from keras_adapters.model_garden.variables import encoder_variables


def classifier(encoder, name="logits", classes=3):
    pooled = encoder(encoder.inputs)["pooled_output"]
    return tf_keras.Model(encoder.inputs, tf_keras.layers.Dense(classes, name=name)(pooled))


@pytest.fixture
def trained(small_encoder):
    """A model whose trained variables have moved."""
    encoder = add_adapters(small_encoder(), AdapterConfig(4))
    model = classifier(encoder)
    set_trainable(model, encoder)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign_add(rng.normal(size=variable.shape).astype("float32"))
    return model, encoder


@pytest.fixture
def saved(trained, tmp_path):
    adapter_file.save_adapter(tmp_path / "adapter", *trained, {"labels": ["a", "b", "c"]})
    return tmp_path / "adapter"


def test_holds_what_was_trained_and_nothing_else(saved, trained):
    model, _ = trained
    tensors = safetensors.numpy.load_file(saved / "adapter.safetensors")
    assert len(tensors) == len(model.trainable_variables)
    assert "head/logits/kernel" in tensors
    assert all("adapter" in n or "layer_norm" in n or n.startswith("head/") for n in tensors)
    assert sorted(path.name for path in saved.iterdir()) == ["adapter.json", "adapter.safetensors"]


@pytest.mark.parametrize("already", [False, True], ids=["plain base", "adapted base"])
def test_round_trip_onto_a_fresh_base(already, saved, trained, small_encoder, tokens):
    encoder = small_encoder()
    if already:
        add_adapters(encoder, AdapterConfig(4))
    model = classifier(encoder)
    metadata = adapter_file.load_adapter(saved, model, encoder)
    assert metadata == {"labels": ["a", "b", "c"]} == adapter_file.read_metadata(saved)
    np.testing.assert_array_equal(model(tokens), trained[0](tokens))


def test_encoder_alone_leaves_the_head(saved, trained, small_encoder, tokens):
    encoder = small_encoder()
    adapter_file.load_adapter(saved, None, encoder)
    expected = trained[1](tokens)["pooled_output"]
    np.testing.assert_array_equal(encoder(tokens)["pooled_output"], expected)


@pytest.mark.parametrize("method", ["full", "top_layers", "feature_based", "layer_norm"])
def test_other_methods_round_trip(method, small_encoder, tokens, tmp_path):
    encoder = small_encoder()
    model = classifier(encoder)
    set_trainable(
        model, encoder, Method.named(method, top_layers=1 if method == "top_layers" else None)
    )
    for variable in model.trainable_variables:
        variable.assign_add(np.full(variable.shape, 0.1, "float32"))
    adapter_file.save_adapter(tmp_path / "adapter", model, encoder)
    fresh_encoder = small_encoder()
    fresh = classifier(fresh_encoder)
    adapter_file.load_adapter(tmp_path / "adapter", fresh, fresh_encoder)
    np.testing.assert_array_equal(fresh(tokens), model(tokens))


def test_one_adapter_after_another_on_one_base(trained, saved, small_encoder, tokens, tmp_path):
    model, encoder = trained
    first = model(tokens).numpy()
    for variable in model.trainable_variables:
        variable.assign(variable * 0.5)
    adapter_file.save_adapter(tmp_path / "second", model, encoder)
    second = model(tokens).numpy()
    adapter_file.load_adapter(saved, model, encoder)
    np.testing.assert_array_equal(model(tokens), first)
    adapter_file.load_adapter(tmp_path / "second", model, encoder)
    np.testing.assert_array_equal(model(tokens), second)


def test_another_base_is_refused(saved, small_encoder):
    encoder = small_encoder()
    encoder_variables(encoder)["layer_1/output/bias"].assign_add(np.full(16, 1e-6, "float32"))
    with pytest.raises(ValueError, match="other pretrained weights"):
        adapter_file.load_adapter(saved, None, encoder)


def test_another_shape_of_adapter_is_refused(saved, small_encoder):
    encoder = add_adapters(small_encoder(), AdapterConfig(5))
    with pytest.raises(ValueError, match=r"size=5(.|\n)*size=4"):
        adapter_file.load_adapter(saved, None, encoder)


def test_missing_extra_and_misshaped_are_reported_together(saved, small_encoder):
    tensors = safetensors.numpy.load_file(saved / "adapter.safetensors")
    del tensors["layer_0/attention/adapter/up/bias"]
    tensors["head/logits/kernel"] = np.zeros((16, 2), "float32")
    tensors["layer_9/strange"] = np.zeros(1, "float32")
    safetensors.numpy.save_file(tensors, saved / "adapter.safetensors")
    encoder = small_encoder()
    model = classifier(encoder)
    before = [w.numpy() for w in model.variables]
    with pytest.raises(ValueError, match="does not fit the model") as error:
        adapter_file.load_adapter(saved, model, encoder)
    for part in ("missing: layer_0/attention/adapter/up/bias", "extra: layer_9/strange", "[16, 2]"):
        assert part in str(error.value)
    base = encoder_variables(encoder, adapters=False)
    assert any(np.array_equal(base["pooler/kernel"].numpy(), value) for value in before)


@pytest.mark.parametrize("change", [{"format": "other"}, {"version": 99}])
def test_other_formats_are_refused(change, saved, small_encoder):
    path = saved / "adapter.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match="must say format"):
        adapter_file.load_adapter(saved, None, small_encoder())


def test_a_folder_without_an_adapter(tmp_path, small_encoder):
    with pytest.raises(FileNotFoundError, match=r"adapter\.json is missing"):
        adapter_file.load_adapter(tmp_path, None, small_encoder())


def test_nothing_to_save(small_encoder, tmp_path):
    encoder = small_encoder()
    model = classifier(encoder)
    model.trainable = False
    with pytest.raises(ValueError, match="trains no variable"):
        adapter_file.save_adapter(tmp_path / "adapter", model, encoder)
    assert not (tmp_path / "adapter").exists()


def test_fingerprint_depends_on_names_shapes_and_values(small_encoder):
    encoder = small_encoder()
    variables = encoder_variables(encoder)
    first = fingerprint(variables)
    assert first == fingerprint(dict(reversed(variables.items())))
    without = {name: v for name, v in variables.items() if name != "pooler/bias"}
    assert first != fingerprint(without)
    variables["pooler/bias"].assign_add(np.full(16, 1e-7, "float32"))
    assert first != fingerprint(variables)
