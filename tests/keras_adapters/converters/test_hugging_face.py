import json

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from keras_adapters.converters.load import load_encoder

CONFIG = {
    "model_type": "bert",
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "layer_norm_eps": 1e-12,
}


def small_tensors():
    rng = np.random.default_rng(0)
    shapes = {
        "embeddings.word_embeddings.weight": (20, 8),
        "embeddings.position_embeddings.weight": (16, 8),
        "embeddings.token_type_embeddings.weight": (2, 8),
        "pooler.dense.weight": (8, 8),
        "pooler.dense.bias": (8,),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in ("encoder.layer.0", "encoder.layer.1"):
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
        for name, (out, width) in {
            "attention.self.query": (8, 8),
            "attention.self.key": (8, 8),
            "attention.self.value": (8, 8),
            "attention.output.dense": (8, 8),
            "intermediate.dense": (12, 8),
            "output.dense": (8, 12),
        }.items():
            shapes |= {f"{layer}.{name}.weight": (out, width), f"{layer}.{name}.bias": (out,)}
    for norm in norms:
        shapes |= {f"{norm}.weight": (8,), f"{norm}.bias": (8,)}
    return {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}


@pytest.fixture
def folder(tmp_path):
    """Writes a small folder; `None` in the settings drops a key."""

    def write(tensors=None, **settings):
        config = {k: v for k, v in {**CONFIG, **settings}.items() if v is not None}
        (tmp_path / "config.json").write_text(json.dumps(config))
        safetensors.numpy.save_file(tensors or small_tensors(), tmp_path / "model.safetensors")
        return tmp_path

    return write


def outputs(encoder):
    ids = np.array([[1, 5, 7, 2]], np.int32)
    inputs = {"input_word_ids": ids, "input_mask": ids * 0 + 1, "input_type_ids": ids * 0}
    return encoder(inputs)["sequence_output"].numpy()


def test_hidden_states_equal_those_of_transformers(minilm, fixtures):
    reference = np.load(fixtures / "minilm_reference.npz")
    mask = reference["input_mask"]
    result = load_encoder(minilm.folder)(
        {
            "input_word_ids": reference["input_word_ids"],
            "input_mask": mask,
            "input_type_ids": np.zeros_like(mask),
        }
    )
    states = np.stack([layer.numpy() for layer in result["encoder_outputs"]])[..., ::8]
    difference = np.abs(states - reference["hidden_states"]) * mask[..., None]
    assert difference.max() < 1e-4
    assert np.abs(result["pooled_output"] - reference["pooled_output"]).max() < 1e-4


def test_erf_and_tanh_gelu_are_told_apart(folder):
    results = {}
    for name in ("gelu", "gelu_new", "gelu_pytorch_tanh"):
        results[name] = outputs(load_encoder(folder(hidden_act=name)))
    assert np.abs(results["gelu"] - results["gelu_new"]).max() > 1e-6
    np.testing.assert_array_equal(results["gelu_new"], results["gelu_pytorch_tanh"])


@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new"])
def test_the_encoders_config_can_be_read_back(hidden_act, folder):
    encoder = load_encoder(folder(hidden_act=hidden_act))
    again = type(encoder).from_config(encoder.get_config())
    again(again.inputs)
    again.set_weights(encoder.get_weights())
    np.testing.assert_array_equal(outputs(again), outputs(encoder))


def test_other_spellings_and_heads_are_read_alike(folder):
    expected = outputs(load_encoder(folder()))
    renamed = {
        "bert."
        + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in small_tensors().items()
    }
    renamed["cls.predictions.bias"] = np.zeros(20, "float32")
    renamed["bert.embeddings.position_ids"] = np.arange(16)[None]
    np.testing.assert_array_equal(outputs(load_encoder(folder(renamed))), expected)


@pytest.mark.parametrize(("dtype", "digits"), [(tf.float16, 2e-2), (tf.bfloat16, 2e-1)])
def test_half_precision_weights_become_float32(dtype, digits, folder):
    expected = outputs(load_encoder(folder()))
    half = {name: value.astype(dtype.as_numpy_dtype) for name, value in small_tensors().items()}
    encoder = load_encoder(folder(half))
    assert {v.dtype for v in encoder.variables} == {tf.float32}
    np.testing.assert_allclose(outputs(encoder), expected, atol=digits)


def test_shards(folder):
    path = folder()
    expected = outputs(load_encoder(path))
    tensors = small_tensors()
    names = sorted(tensors)
    files = {"a.safetensors": names[:9], "b.safetensors": names[9:]}
    for file, part in files.items():
        safetensors.numpy.save_file({name: tensors[name] for name in part}, path / file)
    (path / "model.safetensors").unlink()
    index = {"weight_map": {name: file for file, part in files.items() for name in part}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    np.testing.assert_array_equal(outputs(load_encoder(path)), expected)
    (path / "b.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"Missing: .*b\.safetensors"):
        load_encoder(path)


def test_missing_extra_and_misshaped_are_reported_together(folder):
    tensors = small_tensors()
    del tensors["pooler.dense.bias"]
    tensors["encoder.layer.7.output.dense.bias"] = np.zeros(8, "float32")
    tensors["embeddings.word_embeddings.weight"] = np.zeros((21, 8), "float32")
    with pytest.raises(ValueError, match="does not fit the model") as error:
        load_encoder(folder(tensors))
    for part in (
        "missing: pooler/bias",
        "model.safetensors: encoder.layer.7.output.dense.bias",
        "shape of embeddings/word: [21, 8], not [20, 8]",
    ):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("model_type", "roberta"),
        ("layer_norm_eps", 1e-5),
        ("position_embedding_type", "relative_key"),
        ("hidden_act", "mish"),
        ("is_decoder", True),
    ],
)
def test_what_the_encoder_cannot_be_is_refused_by_name(setting, value, folder):
    with pytest.raises(ValueError, match=f"`{setting}`"):
        load_encoder(folder(**{setting: value}))


def test_a_config_of_before_model_types_is_read_as_the_tensors_are_berts(folder):
    assert load_encoder(folder(model_type=None, layer_norm_eps=None)).built


def test_missing_settings_are_named_together(folder):
    with pytest.raises(ValueError, match=r"config\.json lacks vocab_size, hidden_act"):
        load_encoder(folder(vocab_size=None, hidden_act=None))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(name, folder):
    path = folder()
    (path / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"missing|holds no BERT encoder") as error:
        load_encoder(path)
    assert name in str(error.value)
