"""What Keras and KerasHub do with models afterwards: nothing may lose adapters without a word."""

import keras
import keras_hub
import numpy as np
import pytest

import keras_adapters as ka
from keras_adapters import AdapterConfig

LABELS = np.array([0, 2])


def adapted(hub, size=4, **changes):
    backbone = hub.build("bert", **changes)
    return ka.adapt(backbone, AdapterConfig(size, init_stddev=0.3))


def model_on(backbone):
    return keras.Model(
        backbone.input,
        keras.layers.Dense(3, name="classes")(backbone(backbone.input)["pooled_output"]),
    )


def model_around(backbone):
    """A model of the backbone's layers, without the backbone."""
    return keras.Model(
        backbone.input, keras.layers.Dense(3, name="classes")(backbone.output["pooled_output"])
    )


def compiled(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=True)
    return model


def answers(model, inputs):
    return keras.ops.convert_to_numpy(model(inputs))


@pytest.mark.parametrize("make", [model_on, model_around])
def test_a_file_of_weights_with_adapters_loads_where_they_are_and_nowhere_else(make, hub, tmp_path):
    model = make(adapted(hub))
    inputs = hub.inputs(hub.shared("bert"))
    model.save_weights(tmp_path / "a.weights.h5")
    again = make(adapted(hub))
    hub.disturb(again.weights)
    again.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(answers(again, inputs), answers(model, inputs))
    for other in (hub.build("bert"), adapted(hub, size=8)):
        with pytest.raises(ValueError, match="could not be loaded"):
            make(other).load_weights(tmp_path / "a.weights.h5")


@pytest.mark.parametrize("make", [model_on, model_around])
def test_a_plain_file_of_weights_loads_into_an_adapted_model(make, hub, tmp_path):
    plain = make(hub.build("bert"))
    hub.disturb(plain.weights)
    plain.save_weights(tmp_path / "a.weights.h5")
    backbone = adapted(hub)
    model = make(backbone)
    adapters = {v.path: v.numpy() for v in model.weights if "adapter" in v.path}
    assert adapters
    model.load_weights(tmp_path / "a.weights.h5")
    for variable in model.weights:
        if variable.path in adapters:
            np.testing.assert_array_equal(variable.numpy(), adapters[variable.path])
    ours = [v for v in model.weights if "adapter" not in v.path]
    for loaded, written in zip(ours, plain.weights, strict=True):
        np.testing.assert_array_equal(loaded.numpy(), written.numpy())
    # Of the base that it was adapted on, the file was not.
    with pytest.raises(ValueError, match="Load pretrained weights before"):
        ka.save_adapter(tmp_path / "adapter", model, backbone)


def test_layers_without_their_backbone_are_not_saved_or_cloned(hub, tmp_path):
    model = model_around(adapted(hub))
    save, clone = lambda: model.save(tmp_path / "a.keras"), lambda: keras.models.clone_model(model)
    for write in (save, clone):
        with pytest.raises(ValueError, match=r"`backbone\(inputs\)`, not `backbone.output`"):
            write()
    copy = keras.models.clone_model(model_on(adapted(hub)))
    inside = next(layer for layer in copy.layers if isinstance(layer, keras_hub.models.Backbone))
    assert ka.adapter_summary(inside).inserted == 4 * 148


def test_a_task_keeps_its_adapters(hub, tmp_path):
    backbone = hub.build("bert")
    task = keras_hub.models.BertTextClassifier(backbone, num_classes=3, preprocessor=None)
    ka.adapt(task.backbone, AdapterConfig(4, init_stddev=0.3))
    inputs = hub.inputs(backbone)
    task.save(tmp_path / "task.keras")
    again = keras.models.load_model(tmp_path / "task.keras")
    assert type(again) is keras_hub.models.BertTextClassifier
    np.testing.assert_allclose(answers(again, inputs), answers(task, inputs), atol=1e-6)
    ka.save_adapter(tmp_path / "adapter", task, task.backbone)
    other = keras_hub.models.BertTextClassifier(hub.build("bert"), num_classes=3, preprocessor=None)
    ka.load_adapter(tmp_path / "adapter", other, other.backbone)
    np.testing.assert_array_equal(answers(other, inputs), answers(task, inputs))
    for write in (task.save_to_preset, task.backbone.save_to_preset):
        with pytest.raises(ValueError, match="a preset holds a plain backbone"):
            write(str(tmp_path / "preset"))
    ka.remove_adapter(task.backbone)
    task.backbone.save_to_preset(str(tmp_path / "plain"))
    plain = keras_hub.models.Backbone.from_preset(str(tmp_path / "plain"))
    assert type(plain) is keras_hub.models.BertBackbone


@pytest.mark.long
def test_lora_and_quantisation_are_refused_or_leave_adapters_alone(hub):
    backbone = adapted(hub)
    with pytest.raises(ValueError, match="`enable_lora` must be called on a plain model"):
        backbone.enable_lora(2)
    with pytest.raises(ValueError, match="`quantize` must be called on a plain model"):
        backbone.quantize("int8")
    assert len(backbone.trainable_variables) == 4 * 4 + 10
    model = model_on(backbone)
    model.quantize("int8")
    dtypes = {v.path: v.dtype for v in model.weights}
    assert "int8" in dtypes.values()
    assert {dtype for path, dtype in dtypes.items() if "adapter" in path} == {"float32"}
    ka.remove_adapter(adapted(hub)).quantize("int8")
    quantised = hub.build("bert")
    quantised.quantize("int8")
    with pytest.raises(ValueError, match="must not be quantised"):
        ka.adapt(quantised, AdapterConfig(4))
    assert ka.adapter_summary(quantised).inserted == 0


def test_a_model_that_was_trained_before_must_be_compiled_again(hub):
    backbone = hub.build("bert")
    model, inputs = compiled(model_on(backbone)), hub.inputs(backbone)
    model.fit(inputs, LABELS, verbose=0)
    before = model.predict(inputs, verbose=0)
    ka.adapt(backbone, AdapterConfig(4, init_stddev=1.0))
    assert np.abs(model.predict(inputs, verbose=0) - before).max() > 1e-4
    with pytest.raises(ValueError, match=r"call `compile\(\)`"):
        model.fit(inputs, LABELS, verbose=0)
    compiled(model).fit(inputs, LABELS, verbose=0)
    backbone = hub.build("bert")
    outer = compiled(keras.Sequential([model_on(backbone), keras.layers.Dense(3)]))
    outer.fit(inputs, LABELS, verbose=0)
    ka.adapt(backbone, AdapterConfig(4))
    with pytest.raises(ValueError, match=r"call `compile\(\)`"):
        outer.fit(inputs, LABELS, verbose=0)
    backbone = hub.build("bert")
    backbone.compile("sgd", "mse")
    backbone.optimizer.build(backbone.trainable_variables)
    with pytest.raises(ValueError, match="must not be compiled and trained yet"):
        ka.adapt(backbone, AdapterConfig(4))
    assert type(backbone) is keras_hub.models.BertBackbone


def test_masks_and_precision_reach_behind_the_adapters(hub):
    backbone = adapted(hub, dtype="mixed_bfloat16")
    outputs = backbone(hub.inputs(backbone))["sequence_output"]
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    assert {v.dtype for v in backbone.weights} == {"float32"}
    adapter = backbone.transformer_layers[0]._self_attention_dropout.adapter
    assert adapter.compute_dtype == "bfloat16"
    tokens = keras.Input((5,))
    masked = keras.layers.Masking()(keras.layers.Reshape((5, 1))(tokens))
    block = keras.layers.Dense(4, name="projection")
    model = keras.Model(tokens, keras.layers.GlobalAveragePooling1D()(block(masked)))
    given = np.array([[1.0, 2, 0, 0, 0]])
    wanted = answers(model, given)
    ka.adapt(model, AdapterConfig(2), sites="projection")
    (adapter,) = [layer for layer in model._flatten_layers() if type(layer) is ka.BottleneckAdapter]
    adapter.set_weights([np.zeros_like(w) for w in adapter.get_weights()])
    np.testing.assert_array_equal(answers(model, given), wanted)


@pytest.mark.parametrize(
    ("form", "places"),
    [
        ("parallel", ("attention", "feed_forward")),
        ("parallel_multiplicative", ("feed_forward",)),
        ("after_norm", ("feed_forward",)),
    ],
)
def test_other_forms_change_what_they_say_and_are_taken_out(form, places, hub, tmp_path):
    backbone = hub.build("bert")
    hub.disturb(backbone.weights)
    before = hub.states(backbone)
    ka.adapt(backbone, AdapterConfig(4, form=form, places=places, init_stddev=0.3))
    changed = hub.states(backbone)
    assert np.abs(changed - before).max() > 1e-3
    backbone.save(tmp_path / "a.keras")
    again = keras.models.load_model(tmp_path / "a.keras")
    np.testing.assert_allclose(hub.states(again), changed, atol=1e-6)
    ka.remove_adapter(backbone)
    np.testing.assert_array_equal(hub.states(backbone), before)
    with pytest.raises(ValueError, match="normalise first"):
        ka.adapt(hub.build("llama"), AdapterConfig(4, form="after_norm", places=("feed_forward",)))
