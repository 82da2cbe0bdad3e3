import json
import shutil
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from keras_adapters.adapter_file import AdapterFileError, read_adapter, write_adapter
from keras_adapters.adapter_hub import is_adapter_hub, read_adapter_hub, write_adapter_hub
from keras_adapters.adapter_hub.torch_files import read_torch, write_torch
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method

NAMES = ("pickle", "safetensors", "bare", "spans", "old", "seq_bn", "par_bn", "gated")


@pytest.fixture(scope="session")
def expected(hub):
    return json.loads((hub.folder / "expected.json").read_text())


@pytest.fixture(scope="module")
def encoder(hub):
    import keras_adapters as ka

    return ka.load_encoder(hub.folder / "encoder")


@pytest.mark.parametrize("name", NAMES)
def test_computes_what_the_real_package_computes(name, hub, encoder, expected, tmp_path):
    import tf_keras

    import keras_adapters as ka
    from keras_adapters.original import base_of

    write_adapter(tmp_path, read_adapter_hub(hub.folder / name, base_of(encoder)))
    adapter = read_adapter(tmp_path)
    outputs = encoder(encoder.inputs)
    read = {
        "pooler": outputs["pooled_output"],
        "first": outputs["sequence_output"][:, 0],
        None: outputs["sequence_output"],
    }[adapter.metadata.get("pooling")]
    if adapter.metadata.get("head_activation"):
        read = tf_keras.layers.Dense(16, adapter.metadata["head_activation"], name="dense")(read)
    if adapter.head_tensors:
        size = adapter.head_tensors["logits/bias"].size
        read = tf_keras.layers.Dense(size, name="logits")(read)
    model = tf_keras.Model(encoder.inputs, read)
    ka.load_adapter(tmp_path, model, encoder)
    names = {"word_ids": "input_ids", "mask": "attention_mask", "type_ids": "token_type_ids"}
    tokens = {f"input_{k}": np.array(expected["inputs"][v], "int32") for k, v in names.items()}
    ours, theirs = model(tokens).numpy(), np.array(expected["expected"][name], "float32")
    shown = slice(None) if ours.ndim == 2 else tokens["input_mask"] == 1
    np.testing.assert_allclose(ours[shown], theirs[shown], rtol=0, atol=1e-5)
    assert np.abs(theirs).max() > 1
    ka.remove_adapter(encoder, model)


def test_tells_method_labels_and_where_it_is_from(hub):
    adapter = read_adapter_hub(hub.folder / "safetensors", hub.base)
    config = AdapterConfig(3, "gelu", dropout=0.1, places=("attention",), layers=(1,))
    assert adapter.method == Method(config, trains="nothing")
    assert adapter.base == hub.base
    assert adapter.versions == {"adapters": "1.3.0"}
    assert adapter.metadata == {
        "method": "adapters",
        "encoder": "encoder",
        "pooling": "first",
        "head_activation": "tanh",
        "labels": ["acq", "earn", "grain"],
        "form": {"kind": "classification"},
        "adapter_hub": {
            "name": "safetensors",
            "model_name": "encoder",
            "model_class": "BertAdapterModel",
            "version": "adapters.1.3.0",
        },
    }
    assert all(value.dtype == np.float32 for value in adapter.tensors.values())


def test_tells_each_variant(hub):
    found = {
        name: read_adapter_hub(hub.folder / name, hub.base).method.insertion
        for name in ("seq_bn", "par_bn", "gated")
    }
    only = {"activation": "relu", "places": ("feed_forward",)}
    assert found == {
        "seq_bn": AdapterConfig(4, **only, form="after_norm", scale="per_channel"),
        "par_bn": AdapterConfig((4, 8), **only, form="parallel", scale=4),
        "gated": AdapterConfig(3, "relu", form="parallel", scale="learned", gate=True),
    }


def test_kernels_are_transposed(hub):
    stored = read_torch((hub.folder / "pickle" / "pytorch_adapter.bin").read_bytes())
    kernel = stored["bert.encoder.layer.1.attention.output.adapters.pickle.adapter_down.0.weight"]
    adapter = read_adapter_hub(hub.folder / "pickle", hub.base)
    np.testing.assert_array_equal(
        adapter.tensors["layer_1/attention/adapter/down/kernel"], kernel.T
    )


@pytest.mark.parametrize("name", NAMES)
def test_what_is_exported_again_comes_back(name, hub, tmp_path):
    adapter = read_adapter_hub(hub.folder / name, hub.base)
    write_adapter_hub(tmp_path / "out", adapter)
    assert is_adapter_hub(tmp_path / "out")
    back = read_adapter_hub(tmp_path / "out", hub.base)
    assert (back.method, back.base, back.metadata) == (
        adapter.method,
        adapter.base,
        adapter.metadata,
    )
    assert back.tensors.keys() == adapter.tensors.keys()
    for key, value in adapter.tensors.items():
        np.testing.assert_array_equal(back.tensors[key], value)


def test_leaves_a_head_behind_by_name(hub, copied):
    folder = copied("pickle", "head_config.json", head_type="tagging")
    with pytest.raises(AdapterFileError, match=r"head_config.json: .*head_type='tagging'.*drop"):
        read_adapter_hub(folder, hub.base)
    adapter = read_adapter_hub(folder, hub.base, drop=("head",))
    assert not adapter.head_tensors
    assert "labels" not in adapter.metadata
    with pytest.raises(ValueError, match="no head here"):
        read_adapter_hub(hub.folder / "bare", hub.base, drop=("head",))
    with pytest.raises(ValueError, match="layer_norms"):
        read_adapter_hub(hub.folder / "pickle", hub.base, drop=("layer_norms",))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "roberta"}, "model_type='roberta'"),
        ({"hidden_size": 32}, "shape of .*, not"),
        ({"hidden_size": "16"}, "hidden_size='16'"),
        ({"name": "other"}, "missing: encoder.*other"),
        ({"name": "a.b"}, "name='a.b'"),
        ({"name": None}, "name=None"),
        ({"config": None}, "config"),
        ({"reduction_factor": 2}, "shape of"),
        ({"mh_adapter": False}, "extra: encoder.layer.0.attention"),
        ({"leave_out": [1]}, "extra: encoder.layer.1"),
        ({"scaling": 0.0}, "scaling=0.0"),
        ({"model_name": 3}, "model_name=3"),
    ],
)
def test_refuses_settings_that_do_not_fit(changes, message, hub, copied):
    with pytest.raises(AdapterFileError, match=message) as caught:
        read_adapter_hub(copied("pickle", **changes), hub.base)
    assert str(copied("pickle")) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_class": "BertForTokenClassification"}, "model_class"),
        ({"config": []}, "config"),
        ({"head_type": "multilabel_classification"}, "multilabel_classification"),
        ({"layers": 3}, "layers=3"),
        ({"layers": 2}, "missing: heads.pickle.4.weight"),
        ({"num_labels": 4, "label2id": None}, "shape of heads.pickle.1.weight"),
        ({"num_labels": 0}, "num_labels=0"),
        ({"use_pooler": "yes"}, "use_pooler='yes'"),
        ({"label2id": {"a": 0, "b": 1}}, "label2id"),
        ({"label2id": {"a": 0, "b": 1, "c": 1}}, "label2id"),
        ({"label2id": ["a", "b", "c"]}, "label2id"),
        ({"label2id": {"a": 0, "b": 1, "c": 2.0}}, "label2id"),
        ({"num_labels": 2**31 - 1}, "label2id"),
        ({"name": "x"}, "missing: heads.x.1.weight"),
    ],
)
def test_refuses_heads_that_there_are_none_of(changes, message, hub, copied):
    with pytest.raises(AdapterFileError, match=message):
        read_adapter_hub(copied("pickle", "head_config.json", **changes), hub.base)


def test_two_layers_need_an_activation_that_is_known(hub, copied):
    folder = copied("safetensors", "head_config.json", activation_function=None)
    with pytest.raises(AdapterFileError, match="activation_function=None"):
        read_adapter_hub(folder, hub.base)


def test_reads_heads_without_bias_of_one_output_and_of_transformers(hub, copied, tmp_path):
    folder = copied("pickle", "head_config.json", num_labels=1, bias=False, label2id={"L": 0})
    (folder / "pytorch_model_head.bin").write_bytes(
        write_torch({"heads.pickle.1.weight": np.ones((1, 16), "float32")})
    )
    adapter = read_adapter_hub(folder, hub.base)
    assert adapter.metadata["form"] == {"kind": "regression"}
    assert adapter.metadata["labels"] == []
    np.testing.assert_array_equal(adapter.head_tensors["logits/bias"], [0])
    fixed = {
        "model_class": "BertForSequenceClassification",
        "name": None,
        "config": None,
        "label2id": {"b": 1, "a": 0},
        "num_labels": 2,
    }
    (folder / "head_config.json").write_text(json.dumps(fixed))
    kernel = np.arange(32, dtype="float32").reshape(2, 16)
    tensors = {"classifier.weight": kernel, "classifier.bias": np.ones(2, "float32")}
    (folder / "pytorch_model_head.bin").write_bytes(write_torch(tensors))
    adapter = read_adapter_hub(folder, hub.base)
    assert adapter.metadata["labels"] == ["a", "b"]
    assert adapter.metadata["pooling"] == "pooler"
    np.testing.assert_array_equal(adapter.head_tensors["logits/kernel"], kernel.T)


def test_another_base_is_refused_where_it_can_be_told(hub, tmp_path):
    with pytest.raises(AdapterFileError, match=r"missing: encoder\.layer\.2"):
        read_adapter_hub(hub.folder / "pickle", hub.make_base(layers=3))
    with pytest.raises(AdapterFileError, match=r"extra: encoder\.layer\.1"):
        read_adapter_hub(hub.folder / "pickle", hub.make_base(layers=1))
    write_adapter_hub(tmp_path / "ours", hub.make_adapter())
    with pytest.raises(AdapterFileError, match="another pretrained encoder"):
        read_adapter_hub(tmp_path / "ours", hub.make_base(activation="relu"))


def test_missing_and_double_files(hub, copied):
    for file in ("adapter_config.json", "pytorch_adapter.bin", "pytorch_model_head.bin"):
        folder = copied("pickle")
        (folder / file).unlink()
        with pytest.raises(FileNotFoundError, match=file):
            read_adapter_hub(folder, hub.base)
    folder = copied("pickle")
    (folder / "head_config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"head_config\.json"):
        read_adapter_hub(folder, hub.base)
    folder = copied("pickle")
    tensors = read_torch((folder / "pytorch_adapter.bin").read_bytes())
    (folder / "adapter.safetensors").write_bytes(safetensors.numpy.save(tensors))
    assert read_adapter_hub(folder, hub.base).tensors
    tensors[min(tensors)] = tensors[min(tensors)] + 1
    (folder / "adapter.safetensors").write_bytes(safetensors.numpy.save(tensors))
    with pytest.raises(AdapterFileError, match="hold different tensors"):
        read_adapter_hub(folder, hub.base)


def test_names_with_and_without_prefix_but_not_both(hub, copied):
    folder = copied("pickle")
    file = folder / "pytorch_adapter.bin"
    tensors = read_torch(file.read_bytes())
    short = {name.removeprefix("bert."): value for name, value in tensors.items()}
    file.write_bytes(write_torch(short))
    assert read_adapter_hub(folder, hub.base).tensors
    file.write_bytes(write_torch({**tensors, min(short): short[min(short)]}))
    with pytest.raises(AdapterFileError, match="twice"):
        read_adapter_hub(folder, hub.base)
    gate = "bert.encoder.layer.0.output.adapters.pickle.gate.weight"
    file.write_bytes(write_torch({**tensors, gate: np.ones((1, 16), "float32")}))
    with pytest.raises(AdapterFileError, match=f"extra: {gate.removeprefix('bert.')}"):
        read_adapter_hub(folder, hub.base)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.full((4, 16), np.nan, "float32"), "NaN"),
        (np.full((4, 16), np.inf, "float16"), "NaN"),
        (np.full((4, 16), 1e300), "NaN or too large"),
        (np.full((4, 16), 0.1), "float64"),
        (np.ones((4, 16), "int64"), "I64"),
        (np.ones((16, 4), "float32"), "shape of"),
    ],
)
def test_refuses_values_that_float32_cannot_hold(value, message, hub, copied):
    folder = copied("pickle")
    tensors = read_torch((folder / "pytorch_adapter.bin").read_bytes())
    (folder / "pytorch_adapter.bin").unlink()
    name = "bert.encoder.layer.0.output.adapters.pickle.adapter_down.0.weight"
    (folder / "adapter.safetensors").write_bytes(safetensors.numpy.save({**tensors, name: value}))
    with pytest.raises(AdapterFileError, match=message):
        read_adapter_hub(folder, hub.base)


def test_reads_narrow_types_as_float32(hub, copied):
    folder = copied("pickle")
    tensors = read_torch((folder / "pytorch_adapter.bin").read_bytes())
    for dtype in (np.float16, ml_dtypes.bfloat16):
        (folder / "pytorch_adapter.bin").unlink(missing_ok=True)
        narrow = {name: value.astype(dtype) for name, value in tensors.items()}
        (folder / "adapter.safetensors").write_bytes(safetensors.numpy.save(narrow))
        found = read_adapter_hub(folder, hub.base).tensors["layer_0/attention/adapter/up/bias"]
        name = "bert.encoder.layer.0.attention.output.adapters.pickle.adapter_up.bias"
        np.testing.assert_array_equal(found, narrow[name].astype("float32"))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"\xff{}",
        b'{"name": "a", "name": "b"}',
        b'{"hidden_size": NaN}',
        b"[" * 100_000,
        b'{"hidden_size": 1' + b"0" * 5000 + b"}",
        b'{"model_type": "bert", "hidden_size": 1e400}',
    ],
)
@pytest.mark.parametrize("file", ["adapter_config.json", "head_config.json"])
def test_refuses_malformed_settings(text, file, hub, copied):
    folder = copied("pickle")
    (folder / file).write_bytes(text)
    with pytest.raises(AdapterFileError, match=file):
        read_adapter_hub(folder, hub.base)


@pytest.mark.parametrize("name", ["pickle", "safetensors", "old"])
def test_damage_raises_nothing_undocumented(name, hub, tmp_path):
    rng = np.random.default_rng(1)
    files = sorted((hub.folder / name).iterdir())
    for index in range(120):
        folder = shutil.copytree(hub.folder / name, tmp_path / "x", dirs_exist_ok=True)
        file = folder / files[index % len(files)].name
        content = bytearray(file.read_bytes())
        for place in rng.integers(len(content), size=rng.integers(1, 4)):
            content[place] = rng.integers(256)
        file.write_bytes(content[: rng.integers(len(content))] if index % 5 == 0 else content)
        error = None
        try:
            adapter = read_adapter_hub(folder, hub.base)
        except (AdapterFileError, OSError) as refused:
            error = str(refused)
        if error is not None:
            assert str(folder) in error
        else:
            assert all(np.isfinite(value).all() for value in adapter.tensors.values())


def test_needs_neither_tensorflow_nor_torch():
    code = (
        "import sys, keras_adapters.convert, keras_adapters.adapter_hub\n"
        "assert not {'tensorflow', 'tf_keras', 'keras', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
