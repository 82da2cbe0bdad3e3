"""A pretrained BERT in KerasHub computes what it does in tf-models-official."""

import json
import os
import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
import tf_keras

import keras_adapters as ka
from keras_adapters.converters.names import google_name, hugging_face_name
from keras_adapters.converters.shapes import flat
from keras_adapters.keras_hub.converters import load_backbone, load_preprocessor
from keras_adapters.keras_hub.exact_bert import ExactBertBackbone
from keras_adapters.original import base_of
from keras_adapters.variables import encoder_variables

TEXTS = [
    "The company said its third quarter net profit rose to 12 mln dlrs from 9 mln.",
    "OPEC ministers agreed to cut crude-oil output by one mln barrels per day, Reuters reports",
    "Café Müller's naïve façade: 50% off!",
]
KINDS = ("hugging_face", "tf1", "model_garden", "saved_model")


def to_official(inputs):
    """KerasHub's inputs by tf-models-official's names."""
    names = {"word_ids": "token_ids", "mask": "padding_mask", "type_ids": "segment_ids"}
    return {f"input_{ours}": np.asarray(inputs[name], np.int32) for ours, name in names.items()}


def some_inputs(config):
    rng = np.random.default_rng(1)
    mask = np.ones((2, 7), np.int32)
    mask[1, 4:] = 0
    return {
        "token_ids": rng.integers(config["vocab_size"], size=mask.shape).astype("int32"),
        "padding_mask": mask,
        "segment_ids": rng.integers(config["type_vocab_size"], size=mask.shape).astype("int32"),
    }


def arrays(outputs):
    return {name: keras.ops.convert_to_numpy(output) for name, output in outputs.items()}


def assert_same(ours, theirs, atol=1e-5):
    for name in ("sequence_output", "pooled_output"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=atol)


def write(kind, folder, encoder, config, vocabulary):
    """Writes a BertEncoderV2 in one of the formats that pretrained encoders come in."""
    values = {n: v.numpy() for n, v in encoder_variables(encoder).items()}
    folder.mkdir()
    if kind == "hugging_face":
        tensors = {
            hugging_face_name(n): np.ascontiguousarray(
                v.reshape(flat(n, v.shape)).T
                if n.endswith("/kernel")
                else v.reshape(-1)
                if n.endswith("bias")
                else v
            )
            for n, v in values.items()
        }
        safetensors.numpy.save_file(tensors, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    elif kind == "tf1":
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            for n, v in values.items():
                value = v.reshape(flat(n, v.shape))
                tf.compat.v1.get_variable(f"bert/{google_name(n)}", initializer=value)
            session.run(tf.compat.v1.global_variables_initializer())
            tf.compat.v1.train.Saver().save(session, str(folder / "bert_model.ckpt"))
    elif kind == "model_garden":
        tf.train.Checkpoint(encoder=encoder).write(str(folder / "ckpt"))
    else:
        inputs = {n: tf_keras.Input((None,), dtype="int32", name=n) for n in encoder.inputs}
        model = tf_keras.Model(inputs, encoder(inputs))
        model.save(folder, include_optimizer=False, save_format="tf")
    if kind in ("tf1", "model_garden"):
        (folder / "bert_config.json").write_text(json.dumps(config))
    place = folder / "assets" if kind == "saved_model" else folder
    place.mkdir(exist_ok=True)
    (place / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def folder(odd, tmp_path):
    """Writes a tiny BERT as a Hugging Face folder whose config says further things."""

    def make(activation="relu", **settings):
        encoder = odd.encoder(activation=activation)
        config = {**odd.config, "hidden_act": "relu", **settings}
        return encoder, write("hugging_face", tmp_path / "tiny", encoder, config, odd.uncased)

    return make


@pytest.fixture(scope="module")
def pretrained(minilm):
    """The packaged encoder in tf-models-official and in KerasHub."""
    return ka.load_encoder(minilm.checkpoint), load_backbone(minilm.folder)


def test_the_packaged_encoder_is_the_same_in_both(pretrained, minilm):
    encoder, backbone = pretrained
    inputs = arrays(load_preprocessor(minilm.folder, 64)(TEXTS))
    theirs = ka.BertPreprocessor(minilm.vocab_file, True, 64)([tf.constant(TEXTS)])
    for name, value in to_official(inputs).items():
        np.testing.assert_array_equal(value, theirs[name])
    ours = arrays(backbone(inputs))
    assert np.abs(ours["sequence_output"]).max() > 5
    assert_same(ours, arrays(encoder(theirs)))


def test_the_packaged_encoder_is_one_base_in_both(pretrained):
    ours, theirs = (base_of(model) for model in pretrained)
    assert ours.differences(theirs) == []
    assert ours.fingerprint == theirs.fingerprint


@pytest.mark.parametrize("kind", KINDS)
def test_each_format_gives_the_same_backbone(kind, odd, tmp_path):
    encoder = odd.encoder()
    # Google's `gelu` is by tanh, Hugging Face's by erf.
    name = "gelu_new" if kind == "hugging_face" else "gelu"
    config = {**odd.config, "hidden_act": name}
    backbone = load_backbone(write(kind, tmp_path / kind, encoder, config, odd.uncased))
    assert type(backbone) is keras_hub.models.BertBackbone
    inputs = some_inputs(odd.config)
    assert_same(arrays(backbone(inputs)), encoder(to_official(inputs)))


@pytest.mark.parametrize(
    ("hidden_act", "activation"),
    [
        ("gelu", "gelu"),
        ("gelu_new", None),
        ("gelu_pytorch_tanh", None),
        ("relu", "relu"),
        ("silu", "silu"),
    ],
)
@pytest.mark.parametrize("epsilon", [1e-12, 0.1])
def test_activation_and_epsilon_are_the_files(hidden_act, activation, epsilon, folder, odd):
    encoder, path = folder(activation, hidden_act=hidden_act, layer_norm_eps=epsilon)
    for layer in encoder.submodules:
        if isinstance(layer, tf_keras.layers.LayerNormalization):
            layer.epsilon = epsilon
    backbone = load_backbone(path)
    usual = activation is None and epsilon == 1e-12
    assert type(backbone) is (keras_hub.models.BertBackbone if usual else ExactBertBackbone)
    assert base_of(backbone).differences(base_of(encoder)) == []
    inputs = some_inputs(odd.config)
    assert_same(arrays(backbone(inputs)), encoder(to_official(inputs)))


def reload_keras(model, path):
    model.save(path / "model.keras")
    return keras.saving.load_model(path / "model.keras")


def reload_preset(model, path):
    model.save_to_preset(path / "preset")
    return keras_hub.models.Backbone.from_preset(str(path / "preset"))


def copy(model, path):
    made = type(model).from_config(model.get_config())
    made.save_weights(path / "made.weights.h5")
    model.save_weights(path / "model.weights.h5")
    made.load_weights(path / "model.weights.h5")
    return made


def clone(model, path):
    made = keras.models.clone_model(model)
    made.set_weights(model.get_weights())
    return made


def inside(model, path):
    outer = keras.Model(model.inputs, model(model.input)["sequence_output"])
    outer.save(path / "outer.keras")
    (found,) = (
        layer
        for layer in keras.saving.load_model(path / "outer.keras").layers
        if isinstance(layer, keras_hub.models.BertBackbone)
    )
    return found


def in_a_task(model, path):
    task = keras_hub.models.BertTextClassifier(model, num_classes=3)
    return reload_keras(task, path).backbone


@pytest.mark.parametrize("again", [reload_keras, reload_preset, copy, clone, inside, in_a_task])
@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new"])
def test_what_is_reloaded_computes_the_same(again, hidden_act, folder, odd, tmp_path):
    _, path = folder(hidden_act=hidden_act, layer_norm_eps=0.1)
    backbone = load_backbone(path)
    inputs = some_inputs(odd.config)
    reloaded = again(backbone, tmp_path)
    assert reloaded is not backbone
    assert again is clone or type(reloaded) is ExactBertBackbone
    assert_same(arrays(reloaded(inputs)), arrays(backbone(inputs)), atol=1e-6)


@pytest.mark.parametrize("again", [reload_keras, inside, in_a_task])
def test_what_is_adapted_and_reloaded_computes_the_same(again, folder, odd, tmp_path):
    _, path = folder(hidden_act="gelu", layer_norm_eps=0.1)
    plain = load_backbone(path)
    inputs = some_inputs(odd.config)
    before = arrays(plain(inputs))
    backbone = ka.adapt(load_backbone(path), ka.AdapterConfig(size=5, init_stddev=0.5))
    adapted = arrays(backbone(inputs))
    assert np.abs(adapted["pooled_output"] - before["pooled_output"]).max() > 0.01
    reloaded = again(backbone, tmp_path)
    assert isinstance(reloaded, ExactBertBackbone)
    assert_same(arrays(reloaded(inputs)), adapted, atol=1e-6)
    assert type(ka.remove_adapter(backbone)) is ExactBertBackbone
    assert_same(arrays(backbone(inputs)), before, atol=1e-6)


def test_a_tasks_preset_with_such_a_backbone_is_refused(folder, tmp_path):
    """KerasHub finds a task by its backbone's class, and knows of none for this one."""
    task = keras_hub.models.BertTextClassifier(load_backbone(folder()[1]), num_classes=3)
    task.save_to_preset(tmp_path / "preset")
    with pytest.raises(ValueError, match="Unable to find a subclass"):
        keras_hub.models.TextClassifier.from_preset(str(tmp_path / "preset"))


def test_the_precision_is_the_one_asked_for(folder, odd):
    _, path = folder()
    mixed = load_backbone(path, dtype="mixed_bfloat16")
    assert mixed.dtype_policy.name == "mixed_bfloat16"
    assert {variable.dtype for variable in mixed.variables if "seed" not in variable.path} == {
        "float32"
    }
    inputs = some_inputs(odd.config)
    ours, theirs = arrays(mixed(inputs)), arrays(load_backbone(path)(inputs))
    assert np.abs(ours["pooled_output"].astype("float32") - theirs["pooled_output"]).max() < 0.2


NO_TENSORFLOW = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "tensorflow_text", "tf_keras", "official"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
from keras_adapters.keras_hub.converters import load_backbone, load_preprocessor
load_backbone(sys.argv[1])
assert load_preprocessor(sys.argv[1], 8)(["a b"])["token_ids"].shape == (1, 8)
assert "tensorflow" not in sys.modules
"""


def test_a_hugging_face_folder_needs_no_tensorflow(folder):
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", NO_TENSORFLOW, folder()[1]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"model_type": "roberta"}, "`model_type` must be 'bert'"),
        ({"hidden_act": "mish"}, "`hidden_act` must be one of"),
        ({"layer_norm_eps": 2.0}, r"`layer_norm_eps` must be in \(0, 1\)"),
        ({"layer_norm_eps": "1e-5"}, r"`layer_norm_eps` must be in \(0, 1\)"),
        ({"num_hidden_layers": 3}, "missing: layer_2/"),
    ],
)
def test_what_is_no_such_bert_is_refused(settings, error, folder):
    _, path = folder()
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **settings}))
    with pytest.raises(ValueError, match=error):
        load_backbone(path)


def test_a_narrower_embedding_is_refused(odd, tmp_path):
    encoder = odd.encoder(embedding_width=10)
    config = {**odd.config, "embedding_size": 10}
    path = write("model_garden", tmp_path / "narrow", encoder, config, odd.uncased)
    with pytest.raises(ValueError, match="KerasHub's BERT has no projection"):
        load_backbone(path)


def test_there_is_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no BERT encoder"):
        load_backbone(tmp_path)


@pytest.mark.parametrize(
    ("length", "error"),
    [
        (2, "`sequence_length` must be an integer of at least 3"),
        (41, "`sequence_length` must be at most 40"),
        (7.0, "`sequence_length` must be an integer"),
    ],
)
def test_lengths_that_no_encoder_has(length, error, folder):
    with pytest.raises(ValueError, match=error):
        load_preprocessor(folder()[1], length)


def test_vocabularies_that_do_not_fit(folder, odd):
    _, path = folder()
    (path / "vocab.txt").write_text("\n".join(f"t{n}" for n in range(99)))
    with pytest.raises(ValueError, match="has 99 tokens, but the encoder embeds 53"):
        load_preprocessor(path, 8)
    (path / "vocab.txt").write_text("\n".join(set(odd.uncased) - {"[SEP]"}))
    with pytest.raises(ValueError, match=r"vocab.txt is no vocabulary of BERT: .*\[SEP\]"):
        load_preprocessor(path, 8)


@pytest.mark.parametrize("lower_case", [True, False])
def test_case_is_as_the_files_say(lower_case, folder):
    _, path = folder()
    (path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower_case}))
    ids = keras.ops.convert_to_numpy(load_preprocessor(path, 5)(["a Á"])["token_ids"])
    unknown = 1
    assert ids[0].tolist() == [2, 5, 5 if lower_case else unknown, 3, 0]
