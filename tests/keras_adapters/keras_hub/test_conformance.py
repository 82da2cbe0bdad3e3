"""What every host of Keras 3 owes, on the backend that runs: each backbone, every check."""

import dataclasses
import hashlib

import keras
import numpy as np
import pytest

import keras_adapters as ka
from keras_adapters import METHODS, AdapterConfig, Method
from keras_adapters.bindings import host_of
from keras_adapters.host import inserted_at
from keras_adapters.variables import encoder_variables


@dataclasses.dataclass(frozen=True)
class Row:
    """What is known of a tiny backbone with adapters of size 4.

    `names` is a hash of the names and shapes of its variables, which adapter files hold: it must
    never change.
    """

    names: str
    base: int
    inserted: int
    norms: int


# 148 parameters for each adapter of width 16. An FNet has no attention.
ROWS = {
    "bert": Row("d14d032d6e2e", 5568, 4 * 148, 160),
    "roberta": Row("ed87c9af4009", 5264, 4 * 148, 160),
    "xlm_roberta": Row("ed87c9af4009", 5264, 4 * 148, 160),
    "distil_bert": Row("ed87c9af4009", 5264, 4 * 148, 160),
    "electra": Row("b08f492b16c2", 5024, 4 * 148, 144),
    "albert": Row("5bb390f6bddc", 3064, 2 * 148, 80),
    "deberta_v3": Row("5f282f41d0bf", 5040, 4 * 148, 192),
    "f_net": Row("1b42e37d3556", 3664, 2 * 148, 160),
    "vit": Row("d1bbaca7f0d7", 4832, 4 * 148, 160),
    "gpt2": Row("7c2988c79eb6", 5264, 4 * 148, 160),
    "opt": Row("7c2988c79eb6", 5264, 4 * 148, 160),
    "llama": Row("7743282fe03b", 5520, 4 * 148, 80),
    "llama3": Row("7743282fe03b", 5520, 4 * 148, 80),
    "mistral": Row("f9b7b89eac89", 7056, 4 * 148, 80),
    "qwen": Row("2e9f4c7b1cce", 4784, 4 * 148, 80),
    "qwen3": Row("c8bbe4da033b", 6288, 4 * 148, 112),
}
each = pytest.mark.parametrize("name", ROWS)


def adapters_in(backbone):
    host = host_of(backbone)
    sites = [site for block in host.blocks(backbone) for site in host.sites(block)]
    return list({id(layer): layer for site in sites if (layer := inserted_at(site))}.values())


def values_of(backbone):
    return {name: v.numpy() for name, v in encoder_variables(backbone).items()}


def trained_names(backbone):
    trained = {id(v) for v in backbone.trainable_variables}
    return {name for name, v in encoder_variables(backbone).items() if id(v) in trained}


def classifier(backbone):
    """A model of three classes on the mean of a backbone's states."""
    outputs = backbone(backbone.input)
    outputs = outputs["sequence_output"] if isinstance(outputs, dict) else outputs
    pooled = keras.layers.GlobalAveragePooling1D(name="mean")(outputs)
    return keras.Model(backbone.input, keras.layers.Dense(3, name="classes")(pooled))


def answers(model, inputs):
    return keras.ops.convert_to_numpy(model(inputs))


def test_every_host_has_a_row(hub):
    from keras_adapters.keras_hub.hosts.table import HOSTS

    assert set(ROWS) == set(hub.classes)
    assert {cls.__name__ for cls in HOSTS} == set(hub.classes.values())


@each
def test_fresh_adapters_are_nearly_the_identity_and_are_taken_out_again(name, hub):
    backbone = hub.build(name)
    hub.disturb(backbone.weights)
    plain_class, before, values = type(backbone), hub.states(backbone), values_of(backbone)
    row = ROWS[name]
    summary = ka.adapter_summary(backbone)
    assert summary.method is None
    assert (summary.inserted, summary.total) == (0, row.base)
    assert ka.adapt(backbone, AdapterConfig(4)) is backbone
    assert isinstance(backbone, plain_class)
    assert 0 < np.abs(hub.states(backbone) - before).max() < 2e-2
    for adapter in adapters_in(backbone):
        adapter.set_weights([np.zeros_like(w) for w in adapter.get_weights()])
    np.testing.assert_array_equal(hub.states(backbone), before)
    named = encoder_variables(backbone)
    assert {id(v) for v in named.values()} == {id(v) for v in backbone.weights}
    lines = sorted(f"{key}{list(v.shape)}" for key, v in named.items())
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12] == row.names
    summary = ka.adapter_summary(backbone)
    assert (summary.inserted, summary.trained) == (row.inserted, row.inserted + row.norms)
    assert ka.remove_adapter(backbone) is backbone
    assert type(backbone) is plain_class
    np.testing.assert_array_equal(hub.states(backbone), before)
    assert values_of(backbone).keys() == values.keys()


@each
def test_each_method_trains_what_it_says(name, hub):
    backbone = hub.build(name)
    host = host_of(backbone)
    norm_ids = {id(v) for norm in host.norms(backbone) for v in norm.weights}
    norms = {key for key, v in encoder_variables(backbone).items() if id(v) in norm_ids}
    assert norms
    everything = set(encoder_variables(backbone))
    for method in METHODS:
        if method == "adapters" or (method == "top_layers" and host.shares_blocks(backbone)):
            continue
        ka.adapt(backbone, Method.named(method, top_layers=1 if method == "top_layers" else None))
        trained = trained_names(backbone)
        if method == "top_layers":
            # The last block, and what is above: a pooler or a norm.
            below = ("embeddings/", "layer_0/")
            assert trained == {key for key in everything if not key.startswith(below)}
        else:
            expected = {"full": everything, "layer_norm": norms, "feature_based": set()}
            assert trained == expected[method]
    ka.adapt(backbone, AdapterConfig(4))
    inserted = set(encoder_variables(backbone)) - everything
    assert trained_names(backbone) == norms | inserted


@each
def test_training_leaves_what_is_frozen_and_the_file_brings_back_the_rest(name, hub, tmp_path):
    backbone = hub.build(name)
    ka.adapt(backbone, AdapterConfig(4))
    model = classifier(backbone)
    before, trained = values_of(backbone), trained_names(backbone)
    inputs = hub.inputs(backbone)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Compiling takes seconds: an encoder and a decoder stand for the others.
    model.compile(keras.optimizers.SGD(0.5), loss, run_eagerly=name not in ("bert", "llama"))
    model.fit(inputs, np.array([0, 2]), epochs=2, batch_size=2, verbose=0)
    after = values_of(backbone)
    changed = {key for key in before if not np.array_equal(before[key], after[key])}
    assert changed <= trained
    assert any(key.startswith("layer_0/") for key in changed)
    wanted = answers(model, inputs)

    ka.save_adapter(tmp_path / "adapter", model, backbone, {"labels": ["a", "b", "c"]})
    again = hub.build(name)
    other = classifier(again)
    assert ka.load_adapter(tmp_path / "adapter", other, again) == {"labels": ["a", "b", "c"]}
    np.testing.assert_array_equal(answers(other, inputs), wanted)
    assert trained_names(again) == trained

    stranger = hub.build(name)
    hub.disturb(stranger.weights, seed=3)
    values = values_of(stranger)
    with pytest.raises(ka.AdapterFileError, match="another pretrained encoder"):
        ka.load_adapter(tmp_path / "adapter", None, stranger)
    assert values_of(stranger).keys() == values.keys()


@each
def test_a_keras_file_keeps_the_method(name, hub, tmp_path):
    backbone = hub.build(name)
    ka.adapt(backbone, AdapterConfig(4, init_stddev=0.3))
    model = classifier(backbone)
    inputs = hub.inputs(backbone)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(answers(again, inputs), answers(model, inputs), atol=1e-6)
    inside = next(layer for layer in again.layers if layer.name == backbone.name)
    assert ka.adapter_summary(inside).method == backbone.method
    assert trained_names(inside) == trained_names(backbone)
    # It goes on being of its base: its adapter can be saved.
    ka.save_adapter(tmp_path / "adapter", again, inside)


def test_what_is_no_host_is_refused_with_the_list():
    import keras_hub

    backbone = keras_hub.models.ResNetBackbone(
        [64], [64], [64], [1], [1], "basic_block", image_shape=(16, 16, 3)
    )
    with pytest.raises(ValueError, match=r"BertBackbone, .*Received: ResNetBackbone"):
        ka.adapt(backbone, AdapterConfig(4))
    with pytest.raises(ValueError, match="`encoder` must be a model of tf_keras or of Keras 3"):
        ka.adapt(object(), AdapterConfig(4))
