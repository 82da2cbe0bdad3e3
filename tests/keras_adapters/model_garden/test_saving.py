import dataclasses

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
import tf_keras
from official.nlp.modeling import networks

import keras_adapters as ka
from keras_adapters import AdapterConfig, AdapterFileError, Method, adapter_file
from keras_adapters.freezing import set_trainable
from keras_adapters.model_garden import adapt, add_adapters
from keras_adapters.original import base_of
from keras_adapters.variables import encoder_variables


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
    ka.save_adapter(tmp_path / "adapter", *trained, {"labels": ["a", "b", "c"]})
    return tmp_path / "adapter"


def test_holds_what_was_trained_and_nothing_else(saved, trained):
    model, _ = trained
    tensors = safetensors.numpy.load_file(saved / "adapter.safetensors")
    assert len(tensors) == len(model.trainable_variables)
    assert "head/logits/kernel" in tensors
    assert all("adapter" in n or "layer_norm" in n or n.startswith("head/") for n in tensors)
    assert sorted(path.name for path in saved.iterdir()) == ["README.md", "adapter.safetensors"]


@pytest.mark.parametrize("already", [False, True], ids=["plain base", "adapted base"])
def test_round_trip_onto_a_fresh_base(already, saved, trained, small_encoder, tokens):
    encoder = small_encoder()
    if already:
        add_adapters(encoder, AdapterConfig(4))
    model = classifier(encoder)
    metadata = ka.load_adapter(saved, model, encoder)
    assert metadata == {"labels": ["a", "b", "c"]} == ka.read_metadata(saved)
    np.testing.assert_array_equal(model(tokens), trained[0](tokens))


def test_encoder_alone_leaves_the_head(saved, trained, small_encoder, tokens):
    encoder = small_encoder()
    ka.load_adapter(saved, None, encoder)
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
    ka.save_adapter(tmp_path / "adapter", model, encoder)
    fresh_encoder = small_encoder()
    fresh = classifier(fresh_encoder)
    ka.load_adapter(tmp_path / "adapter", fresh, fresh_encoder)
    np.testing.assert_array_equal(fresh(tokens), model(tokens))


def test_one_adapter_after_another_on_one_base(trained, saved, small_encoder, tokens, tmp_path):
    model, encoder = trained
    first = model(tokens).numpy()
    for variable in model.trainable_variables:
        variable.assign(variable * 0.5)
    ka.save_adapter(tmp_path / "second", model, encoder)
    second = model(tokens).numpy()
    ka.load_adapter(saved, model, encoder)
    np.testing.assert_array_equal(model(tokens), first)
    ka.load_adapter(tmp_path / "second", model, encoder)
    np.testing.assert_array_equal(model(tokens), second)


def test_another_base_is_refused(saved, small_encoder):
    encoder = small_encoder()
    encoder_variables(encoder)["layer_1/output/bias"].assign_add(np.full(16, 1e-6, "float32"))
    with pytest.raises(ValueError, match=r"another pretrained encoder(.|\n)*layer_1/output/bias"):
        ka.load_adapter(saved, None, encoder)


def test_another_shape_of_adapter_is_refused(saved, small_encoder):
    encoder = add_adapters(small_encoder(), AdapterConfig(5))
    with pytest.raises(ValueError, match=r"size=5(.|\n)*size=4"):
        ka.load_adapter(saved, None, encoder)


def test_missing_extra_and_misshaped_are_reported_together(saved, small_encoder):
    adapter = adapter_file.read_adapter(saved)
    tensors = dict(adapter.tensors)
    del tensors["layer_0/attention/adapter/up/bias"]
    tensors["head/logits/kernel"] = np.zeros((16, 2), "float32")
    tensors["head/logits/bias"] = np.zeros(3, "int32")
    tensors["layer_9/strange"] = np.zeros(1, "float32")
    adapter_file.write_adapter(saved, dataclasses.replace(adapter, tensors=tensors))
    encoder = small_encoder()
    model = classifier(encoder)
    before = [w.numpy() for w in model.variables]
    with pytest.raises(ValueError, match="does not fit the model") as error:
        ka.load_adapter(saved, model, encoder)
    for part in (
        "missing: layer_0/attention/adapter/up/bias",
        "extra: layer_9/strange",
        "[16, 2]",
        "int32",
    ):
        assert part in str(error.value)
    # All is as it was.
    assert type(encoder) is networks.BertEncoderV2
    for value, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_a_folder_without_an_adapter(tmp_path, small_encoder):
    with pytest.raises(FileNotFoundError, match=r"adapter\.safetensors is missing"):
        ka.load_adapter(tmp_path, None, small_encoder())


def test_nothing_to_save(small_encoder, tmp_path):
    encoder = small_encoder()
    model = classifier(encoder)
    model.trainable = False
    with pytest.raises(ValueError, match="trains no variable"):
        ka.save_adapter(tmp_path / "adapter", model, encoder)
    assert not (tmp_path / "adapter").exists()


def test_fingerprint_depends_on_values_and_architecture(small_encoder):
    encoder = small_encoder()
    first = base_of(encoder)
    assert first.fingerprint == base_of(small_encoder()).fingerprint
    encoder_variables(encoder)["pooler/bias"].assign_add(np.full(16, 1e-7, "float32"))
    assert base_of(encoder).differences(first) == ["has other values or shapes of pooler/bias"]
    assert base_of(encoder).fingerprint != first.fingerprint
    other = small_encoder(norm_first=True)
    assert base_of(other).differences(first) == ["norm_first: True, not False"]


def test_what_was_traced_is_traced_anew(saved, trained, small_encoder, tokens):
    expected = trained[0].predict(tokens, verbose=0)
    encoder = small_encoder()
    inner = classifier(encoder)
    model = tf_keras.Model(encoder.inputs, tf_keras.layers.Softmax()(inner(encoder.inputs)))
    model.compile(loss="mse")
    before = inner.predict(tokens, verbose=0), model.predict(tokens, verbose=0)
    tested = model.evaluate(tokens, np.zeros((2, 3)), verbose=0)
    ka.load_adapter(saved, inner, encoder)
    np.testing.assert_allclose(inner.predict(tokens, verbose=0), expected, atol=1e-6)
    # One that holds another must be named itself.
    ka.remove_adapter(encoder, model)
    head = inner.get_layer("logits").get_weights()
    unadapted = classifier(small_encoder())
    unadapted.get_layer("logits").set_weights(head)
    base = unadapted.predict(tokens, verbose=0)
    np.testing.assert_allclose(inner.predict(tokens, verbose=0), base, atol=1e-6)
    np.testing.assert_allclose(model.predict(tokens, verbose=0), tf.nn.softmax(base), atol=1e-6)
    assert model.evaluate(tokens, np.zeros((2, 3)), verbose=0) != tested
    assert np.abs(before[0] - expected).max() > 1e-3


def test_an_encoder_that_is_a_model_is_traced_anew_without_one(small_encoder, tokens, tmp_path):
    model = classifier(adapt(small_encoder(networks.BertEncoder), AdapterConfig(4, init_stddev=1)))
    (encoder,) = (layer for layer in model.layers if isinstance(layer, networks.BertEncoder))
    ka.save_adapter(tmp_path / "adapter", model, encoder)
    fresh = small_encoder(networks.BertEncoder)
    before = fresh.predict(tokens, verbose=0)["pooled_output"]
    ka.load_adapter(tmp_path / "adapter", None, fresh)
    after = fresh.predict(tokens, verbose=0)["pooled_output"]
    np.testing.assert_allclose(after, encoder(tokens)["pooled_output"], atol=1e-6)
    assert np.abs(after - before).max() > 1e-3
    ka.remove_adapter(fresh)
    np.testing.assert_allclose(fresh.predict(tokens, verbose=0)["pooled_output"], before, atol=1e-6)


def test_an_encoder_that_is_not_in_the_model_is_refused(saved, trained, small_encoder, tmp_path):
    model, encoder = trained
    other = small_encoder()
    for call in (
        lambda: ka.load_adapter(saved, model, other),
        lambda: ka.save_adapter(tmp_path / "other", model, other),
        lambda: ka.remove_adapter(encoder, classifier(other)),
    ):
        with pytest.raises(ValueError, match="`encoder` must be in `model`"):
            call()
    assert not (tmp_path / "other").exists()
    assert type(other) is networks.BertEncoderV2


def test_a_bad_file_has_an_error_of_its_own(saved, small_encoder):
    path = saved / "adapter.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(AdapterFileError, match=r"adapter\.safetensors.*checksum"):
        ka.read_metadata(saved)
    assert issubclass(AdapterFileError, ValueError)


def frozen_flags(encoder):
    trained = {id(v) for v in encoder.trainable_variables}
    return {name for name, v in encoder_variables(encoder).items() if id(v) not in trained}


def test_removing_brings_back_what_was_frozen(small_encoder):
    encoder = small_encoder()
    encoder.transformer_layers[0].trainable = False
    before = frozen_flags(encoder)
    adapt(encoder, AdapterConfig(4))
    ka.remove_adapter(encoder)
    assert frozen_flags(encoder) == before


def test_removing_a_method_that_inserts_nothing(small_encoder):
    encoder = adapt(small_encoder(), "layer_norm")
    before = {name: v.numpy() for name, v in encoder_variables(encoder).items()}
    for variable in encoder.trainable_variables:
        variable.assign_add(np.ones(variable.shape, "float32"))
    ka.remove_adapter(encoder)
    for name, variable in encoder_variables(encoder).items():
        np.testing.assert_array_equal(variable.numpy(), before[name], err_msg=name)
    encoder = adapt(encoder, "full")
    with pytest.raises(ValueError, match="trains all of the base, of which no copy"):
        ka.remove_adapter(encoder)


def test_removing_from_what_was_reloaded_is_refused(small_encoder):
    encoder = adapt(small_encoder(), AdapterConfig(4))
    again = type(encoder).from_config(encoder.get_config())
    with pytest.raises(ValueError, match="not known"):
        ka.remove_adapter(again)
    assert again.method == encoder.method


def test_loading_what_replaces_norms_alone_can_be_undone(small_encoder, tmp_path, tokens):
    encoder = adapt(small_encoder(), "layer_norm")
    model = classifier(encoder)
    for variable in encoder.trainable_variables:
        variable.assign_add(np.ones(variable.shape, "float32"))
    ka.save_adapter(tmp_path / "adapter", model, encoder)
    base = small_encoder()
    before = base(tokens)["pooled_output"].numpy()
    ka.load_adapter(tmp_path / "adapter", None, adapt(base, "layer_norm"))
    assert np.abs(base(tokens)["pooled_output"] - before).max() > 1e-3
    ka.remove_adapter(base)
    np.testing.assert_array_equal(base(tokens)["pooled_output"], before)
