"""What no format may load: files that are no weights, no base, or not what they promise."""

import json
import pathlib
import shutil

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
import tf_keras
from official.nlp.modeling import networks

from keras_adapters.converters import building
from keras_adapters.converters.load import load_encoder
from keras_adapters.converters.shapes import flat, variable_shapes
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.splice import add_adapters
from keras_adapters.variables import encoder_variables

KINDS = ("hugging_face", "tf1", "model_garden", "saved_model")
WEIGHTS = {
    "hugging_face": "model.safetensors: ",
    "tf1": "bert_model.ckpt: ",
    "model_garden": "ckpt: ",
    "saved_model": "variables/variables: ",
}
QUERY = "layer_1/attention/query/kernel"
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def nothing_is_built(monkeypatch):
    def build(*_):
        raise AssertionError("an encoder was built before the file was looked at")

    monkeypatch.setattr(building, "build_encoder", build)


@every_kind
def test_each_format_gives_the_same_weights(kind, tiny):
    tiny.assert_same(load_encoder(tiny.folders[kind]))


@pytest.mark.parametrize("width", [None, 10])
def test_the_shapes_are_those_of_the_encoder(width, odd):
    config = {**odd.config, "embedding_size": width or odd.config["hidden_size"]}
    variables = encoder_variables(odd.encoder(embedding_width=width))
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    assert variable_shapes(config) == shapes
    assert flat(QUERY, shapes[QUERY]) == (18, 18)
    assert flat("layer_0/attention/key/bias", (3, 6)) == (18,)
    assert flat("layer_0/attention/output/kernel", (3, 6, 18)) == (18, 18)
    assert flat("layer_0/output/kernel", (26, 18)) == (26, 18)


@every_kind
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers(kind, value, tiny, tmp_path):
    values = {name: array.copy() for name, array in tiny.values(kind).items()}
    values["pooler/bias"][3] = value
    folder = tiny.write(kind, tmp_path / kind, values)
    with pytest.raises(ValueError, match=rf"{WEIGHTS[kind]}.*ias.* holds NaN or infinity"):
        load_encoder(folder)


@every_kind
@pytest.mark.parametrize("dtype", ["int32", "bool", "float64", "uint8", "complex64"])
def test_weights_of_other_types(kind, dtype, tiny, tmp_path, nothing_is_built):
    if (kind, dtype) == ("hugging_face", "complex64"):
        dtype = "int64"  # NumPy's safetensors have no complex numbers.
    values = {**tiny.values(kind), "pooler/bias": np.ones(18, dtype)}
    folder = tiny.write(kind, tmp_path / kind, values)
    with pytest.raises(ValueError, match=rf"{WEIGHTS[kind]}.*ias.* must be of float32, float16, "):
        load_encoder(folder)


@pytest.mark.parametrize("kind", KINDS[:3])
@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_weights_of_half_precision(kind, dtype, tiny, tmp_path):
    half = {n: v.astype(dtype.as_numpy_dtype) for n, v in tiny.values(kind).items()}
    encoder = load_encoder(tiny.write(kind, tmp_path / kind, half))
    for name, variable in encoder_variables(encoder).items():
        assert variable.dtype == tf.float32
        np.testing.assert_array_equal(variable.numpy().ravel(), half[name].astype("f4").ravel())


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F4", "I8", "BOOL", "F64", "X7", 3, None])
def test_types_of_safetensors_that_numpy_has_not(dtype, tiny, tmp_path):
    folder = shutil.copytree(tiny.folders["hugging_face"], tmp_path / "copy")
    content = (folder / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["pooler.dense.bias"]["dtype"] = dtype
    header = json.dumps(header).encode()
    content = len(header).to_bytes(8, "little") + header + content[8 + length :]
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        load_encoder(folder)


@every_kind
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (QUERY, (9, 36)),
        (QUERY, (36, 9)),
        (QUERY, (324,)),
        (QUERY, (3, 6, 18)),
        (QUERY, (18, 6, 3)),
        (QUERY, (1, 18, 18)),
        ("layer_0/attention/value/bias", (6, 3)),
        ("layer_0/attention/value/bias", (1, 18)),
        ("layer_0/attention/output/kernel", (18, 3, 6)),
        ("layer_0/attention/output/kernel", (9, 36)),
        ("layer_0/attention/output/bias", (3, 6)),
        ("layer_0/intermediate/kernel", (26, 18)),
        ("pooler/kernel", (18, 18, 1)),
    ],
)
def test_nothing_is_reshaped_that_only_has_the_size(
    kind, name, shape, tiny, tmp_path, nothing_is_built
):
    values = {**tiny.values(kind), name: tiny.values(kind)[name].reshape(shape)}
    folder = tiny.write(kind, tmp_path / kind, values)
    with pytest.raises(ValueError, match=f"does not fit the model:\n  shape of {name}") as error:
        load_encoder(folder)
    assert str(list(shape)) in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name",
    [
        "encoder.layer.0.attention.output.adapters.mrpc.adapter_up.bias",
        "bert/encoder/layer_0/attention/output/adapters/feedforward_upproject/biases",
        "encoder.layer.0.attention.self.query.lora_A.default.weight",
        "encoder/layer_0/output_dropout/adapter/up/kernel",
        "classifier.adapter",
    ],
)
def test_adapters_beside_the_base(kind, name, tiny, tmp_path, nothing_is_built):
    values = {**tiny.values(kind), name: np.zeros(3, np.float32)}
    folder = tiny.write(kind, tmp_path / kind, values)
    with pytest.raises(ValueError, match=r"an encoder with adapters, not a base.*`load_adapter`"):
        load_encoder(folder)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["bert/gate", "_transformer_layers/1/gate/scale", "gate/kernel"])
def test_layers_that_a_bert_has_not(kind, name, tiny, tmp_path):
    if kind == "tf1" and not name.startswith("bert/"):
        name = f"bert/{name}"
    values = {**tiny.values(kind), name: np.zeros(3, np.float32)}
    folder = tiny.write(kind, tmp_path / kind, values)
    with pytest.raises(ValueError, match=f"does not fit the model:\n  extra: .*{name}$"):
        load_encoder(folder)


@pytest.mark.parametrize("cls", [networks.BertEncoderV2, networks.BertEncoder])
@pytest.mark.parametrize("places", [("attention", "feed_forward"), ("feed_forward",)])
def test_a_checkpoint_of_an_adapted_encoder(cls, places, tmp_path, odd):
    encoder = add_adapters(odd.encoder(cls), AdapterConfig(4, places=places, layers=(1,)))
    tf.train.Checkpoint(encoder=encoder).write(str(tmp_path / "ckpt"))
    odd.write_bert_config(tmp_path)
    with pytest.raises(ValueError, match=r"ckpt holds an encoder with adapters, not a base"):
        load_encoder(tmp_path)


def test_a_functional_model_of_numbers_alone_that_was_adapted(tmp_path, odd):
    encoder = add_adapters(odd.encoder(networks.BertEncoder), AdapterConfig(4))
    model = tf_keras.Model(encoder.inputs, encoder.outputs)
    tf.train.Checkpoint(model=model).write(str(tmp_path / "ckpt"))
    odd.write_bert_config(tmp_path)
    with pytest.raises(ValueError, match=r"ckpt holds an encoder with adapters, not a base"):
        load_encoder(tmp_path)


def test_a_saved_model_of_an_adapted_encoder(tmp_path, odd):
    encoder = add_adapters(odd.encoder(), AdapterConfig(4, activation="relu"))
    inputs = {n: tf_keras.Input((None,), dtype=tf.int32, name=n) for n in encoder.inputs}
    model = tf_keras.Model(inputs, encoder(inputs))
    model.save(tmp_path / "exported", include_optimizer=False, save_format="tf")
    with pytest.raises(ValueError, match=r"saved_model\.pb holds an encoder with adapters, not a"):
        load_encoder(tmp_path / "exported")


@pytest.mark.parametrize("kind", KINDS[:3])
@pytest.mark.parametrize(
    "promise",
    [
        {"vocab_size": 30_000_000},
        {"num_hidden_layers": 1_000_000_000},
        {"num_hidden_layers": 10**300},
        {"hidden_size": 3 * 10**6},
        {"intermediate_size": 10**9},
        {"max_position_embeddings": 10**9},
        {"type_vocab_size": 10**30},
    ],
)
def test_a_configuration_that_promises_too_much(kind, promise, tiny, tmp_path, nothing_is_built):
    folder = shutil.copytree(tiny.folders[kind], tmp_path / "copy")
    name = "config.json" if kind == "hugging_face" else "bert_config.json"
    config = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**config, **promise}))
    with pytest.raises(ValueError, match=r"does not fit the model|must be a whole number, 1 to "):
        load_encoder(folder)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_an_index_that_promises_more_than_its_data(kind, tiny, tmp_path, odd, nothing_is_built):
    folder = shutil.copytree(tiny.folders[kind], tmp_path / "copy")
    (data,) = folder.rglob("*.data-00000-of-00001")
    content = data.read_bytes()
    data.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="is damaged, a file may be cut short"):
        load_encoder(folder)


@pytest.mark.parametrize("shape", [[30_000_000, 18], [2**63, 2], [-1, 18], [], "53", [[53], 18]])
def test_a_header_that_promises_more_than_its_data(shape, tmp_path, odd, nothing_is_built):
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, 12]}
    header = json.dumps({"embeddings.word_embeddings.weight": entry}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(12)
    (tmp_path / "model.safetensors").write_bytes(content)
    config = {**odd.config, "model_type": "bert", "vocab_size": 30_000_000}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        load_encoder(tmp_path)


@pytest.fixture
def sharded(tiny, tmp_path):
    """Writes a Hugging Face folder whose one shard has a name, as a weight_map says."""
    folder = shutil.copytree(tiny.folders["hugging_face"], tmp_path / "inside")
    weights = folder / "model.safetensors"
    names = sorted(safetensors.numpy.load_file(weights))

    def write(file, place):
        weights.rename(place)
        index = {"weight_map": dict.fromkeys(names, file)}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        return folder

    return write


def test_a_shard_of_the_same_folder(sharded, tiny, tmp_path):
    folder = sharded("model-1.safetensors", tmp_path / "inside" / "model-1.safetensors")
    tiny.assert_same(load_encoder(folder))
    tiny.assert_same(load_encoder(folder / "model-1.safetensors"))


@pytest.mark.parametrize(
    "name",
    ["../x", "{root}/x", "sub/x", "./x", "sub/../x", "sub\\x", "C:x", "x\n", "x\0", "..", ""],
)
def test_a_shard_elsewhere_is_not_followed(name, sharded, tmp_path):
    (tmp_path / "inside" / "sub").mkdir()
    name = name.format(root=tmp_path)
    place = (tmp_path / "inside" / name.replace("\0", "")).resolve()
    folder = sharded(name, place if not place.is_dir() else tmp_path / "x")
    with pytest.raises(ValueError, match="`weight_map` must name files of its own folder"):
        load_encoder(folder)


@pytest.mark.parametrize("weight_map", [None, [], {}, "x", {"a": 1}, {"a": None}, {"a": ["x"]}])
def test_a_weight_map_that_is_none(weight_map, tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(ValueError, match=r"index\.json.*`weight_map`"):
        load_encoder(tmp_path)


def test_a_tensor_under_two_names(tiny, tmp_path):
    folder = shutil.copytree(tiny.folders["hugging_face"], tmp_path / "copy")
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    tensors["bert.embeddings.LayerNorm.gamma"] = tensors["embeddings.LayerNorm.weight"]
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"LayerNorm\.weight is there twice, the first is .*gamma"):
        load_encoder(folder)


def test_a_tensor_with_one_of_our_names_is_extra(tiny, tmp_path):
    folder = shutil.copytree(tiny.folders["hugging_face"], tmp_path / "copy")
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    tensors["pooler/kernel"] = tensors.pop("pooler.dense.weight")
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ValueError, match="missing: pooler/kernel"):
        load_encoder(folder)


@every_kind
def test_a_file_that_may_not_be_read_is_not_called_damaged(kind, tiny, monkeypatch):
    real = pathlib.Path.open

    def forbid(path, *args, **kwargs):
        if path.name.endswith(("model.safetensors", "-of-00001")):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(pathlib.Path, "open", forbid)
    with pytest.raises(PermissionError, match="Permission denied"):
        load_encoder(tiny.folders[kind])


@pytest.mark.parametrize("output_range", [0, -1, 1.0, True, "1", [1]])
def test_an_output_range_that_is_none(output_range, tiny):
    with pytest.raises(ValueError, match="`output_range` must be None or a whole number"):
        load_encoder(tiny.folders["hugging_face"], output_range=output_range)


@pytest.mark.parametrize("path", [None, 3, ["x"], b"x"])
def test_a_path_that_is_none(path):
    with pytest.raises(ValueError, match="an encoder's path must be a string or a path"):
        load_encoder(path)
