import json

import numpy as np
import pytest
import safetensors.numpy

from keras_adapters.adapter_hub import read_adapter_hub, write_adapter_hub
from keras_adapters.adapter_hub.torch_files import read_torch
from keras_adapters.methods.bottleneck import AdapterConfig

NORMS = ("layer_0/attention/layer_norm/gamma", "embeddings/layer_norm/beta")


def settings(folder, file="adapter_config.json"):
    return json.loads((folder / file).read_text())


def test_writes_what_their_default_call_reads(hub, tmp_path):
    adapter = hub.make_adapter()
    write_adapter_hub(tmp_path / "out", adapter, base_model="org/base")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "README.md",
        "adapter.safetensors",
        "adapter_config.json",
        "head_config.json",
        "model_head.safetensors",
        "pytorch_adapter.bin",
        "pytorch_model_head.bin",
    ]
    written = settings(tmp_path / "out")
    told = ("name", "model_name", "model_type", "model_class", "hidden_size", "version")
    assert [written[key] for key in told] == [
        *("mrpc", "org/base", "bert", "BertAdapterModel", 16, "adapters.1.3.0")
    ]
    assert written["config"]["scaling"] == 1.0
    assert '"scaling": 1.0' in (tmp_path / "out" / "adapter_config.json").read_text()
    tensors = read_torch((tmp_path / "out" / "pytorch_adapter.bin").read_bytes())
    safe = safetensors.numpy.load_file(tmp_path / "out" / "adapter.safetensors")
    assert tensors.keys() == safe.keys()
    for name, value in tensors.items():
        np.testing.assert_array_equal(value, safe[name])
    down = "bert.encoder.layer.0.attention.output.adapters.mrpc.adapter_down.0.weight"
    kernel = adapter.tensors["layer_0/attention/adapter/down/kernel"]
    np.testing.assert_array_equal(tensors[down], kernel.T)
    head = settings(tmp_path / "out", "head_config.json")
    assert head["config"] == {
        "head_type": "classification",
        "num_labels": 3,
        "layers": 1,
        "activation_function": "tanh",
        "label2id": {"a": 0, "b": 1, "c": 2},
        "use_pooler": True,
        "bias": True,
    }
    card = (tmp_path / "out" / "README.md").read_text()
    assert "base_model: org/base\n" in card
    assert "from_pretrained('org/base')" in card


def test_keeps_what_adapter_hub_has_no_place_for(hub, tmp_path):
    adapter = hub.make_adapter()
    write_adapter_hub(tmp_path / "out", adapter)
    back = read_adapter_hub(tmp_path / "out", hub.base)
    assert back.versions == adapter.versions
    assert back.metadata["metrics"] == {"dev": {"accuracy": 0.5}}
    assert back.metadata["form"] == {"kind": "classification", "columns": 2}


def test_writes_the_same_twice(hub, tmp_path):
    for folder in ("a", "b"):
        write_adapter_hub(tmp_path / folder, hub.make_adapter())
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


@pytest.mark.parametrize("pooling", ["pooler", "first"])
@pytest.mark.parametrize("dense", [False, True])
def test_heads_come_back(pooling, dense, hub, tmp_path):
    adapter = hub.make_adapter(pooling=pooling, dense=dense)
    write_adapter_hub(tmp_path / "out", adapter)
    back = read_adapter_hub(tmp_path / "out", hub.base)
    for key in ("pooling", "labels", "head_activation"):
        assert back.metadata.get(key) == adapter.metadata.get(key)
    for name, value in adapter.tensors.items():
        np.testing.assert_array_equal(back.tensors[name], value)


def test_trained_norms_are_dropped_by_name_only(hub, tmp_path):
    adapter = hub.make_adapter("layer_norms", extra=NORMS)
    with pytest.raises(ValueError, match="trained LayerNorms, such as embeddings/layer_norm/beta"):
        write_adapter_hub(tmp_path / "out", adapter)
    assert not list(tmp_path.iterdir())
    write_adapter_hub(tmp_path / "out", adapter, drop=("layer_norms",))
    back = read_adapter_hub(tmp_path / "out", hub.base)
    assert back.method.trains == "nothing"
    assert set(adapter.tensors) - set(back.tensors) == set(NORMS)
    assert "without the trained LayerNorms" in (tmp_path / "out" / "README.md").read_text()


def test_trained_variables_of_the_base_are_dropped_by_name_only(hub, tmp_path):
    adapter = hub.make_adapter("all", extra=("pooler/bias", *NORMS))
    with pytest.raises(ValueError, match="pooler/bias"):
        write_adapter_hub(tmp_path / "out", adapter, drop=("layer_norms",))
    write_adapter_hub(tmp_path / "out", adapter, drop=("layer_norms", "base"))


@pytest.mark.parametrize(
    "changes",
    [
        {"pooling": "mean"},
        {"pooling": None},
        {"form": {"kind": "spans"}},
        {"form": {"kind": "ranking"}},
        {"extra": ("head/scale",)},
        {"head_activation": "tanh"},
        {"dense": True, "head_activation": "elu"},
        {"head_activation": 3},
    ],
)
def test_heads_that_theirs_have_none_like_are_dropped_by_name_only(changes, hub, tmp_path):
    changes = dict(changes)
    activation = changes.pop("head_activation", None)
    adapter = hub.make_adapter(**changes)
    if activation:
        adapter.metadata["head_activation"] = activation
    with pytest.raises(ValueError, match="drop 'head' by name"):
        write_adapter_hub(tmp_path / "out", adapter)
    write_adapter_hub(tmp_path / "out", adapter, drop=["head"])
    assert not (tmp_path / "out" / "head_config.json").exists()
    assert not read_adapter_hub(tmp_path / "out", hub.base).head_tensors


@pytest.mark.parametrize("labels", [("a", "a", "b"), ("a", "b"), (1, 2, 3)])
def test_labels_that_theirs_cannot_keep_are_dropped_by_name_only(labels, hub, tmp_path):
    adapter = hub.make_adapter(labels=labels, outputs=3)
    with pytest.raises(ValueError, match="drop 'labels' by name"):
        write_adapter_hub(tmp_path / "out", adapter)
    write_adapter_hub(tmp_path / "out", adapter, drop=["labels"])
    assert settings(tmp_path / "out", "head_config.json")["config"]["label2id"] is None


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        (["layer_norms"], "no layer_norms here"),
        (["base"], "no base here"),
        (["head", "labels"], "no labels here"),
        (["heads"], "drop=.'heads'"),
    ],
)
def test_nothing_is_dropped_that_is_not_there(drop, message, hub, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_adapter_hub(tmp_path / "out", hub.make_adapter(), drop=drop)
    with pytest.raises(ValueError, match="no head here"):
        write_adapter_hub(tmp_path / "out", hub.make_adapter(pooling="no head"), drop="head")


@pytest.mark.parametrize(
    "base",
    [
        {"family": "albert"},
        {"norm_first": True},
        {"embedding_scale": 2.0},
        {"layers": None},
    ],
)
def test_refuses_bases_that_transformers_has_no_bert_like(base, hub, tmp_path):
    with pytest.raises(ValueError, match=next(iter(base))):
        write_adapter_hub(tmp_path / "out", hub.make_adapter(base=hub.make_base(**base)))
    with pytest.raises(ValueError, match="version 1"):
        write_adapter_hub(tmp_path / "out", hub.make_adapter(base=None))


def test_refuses_what_has_no_adapters_or_others(hub, tmp_path):
    with pytest.raises(ValueError, match="holds no adapters"):
        write_adapter_hub(tmp_path / "out", hub.make_adapter(config=None))
    with pytest.raises(ValueError, match="must be those of"):
        write_adapter_hub(
            tmp_path / "out", hub.make_adapter(extra=("layer_9/attention/adapter/up/bias",))
        )
    with pytest.raises(ValueError, match="'elu'"):
        write_adapter_hub(
            tmp_path / "out", hub.make_adapter(config=AdapterConfig(3, activation="elu"))
        )
    assert not list(tmp_path.iterdir())


def test_names(hub, tmp_path):
    write_adapter_hub(tmp_path / "a", hub.make_adapter(task="v1.5"))
    assert settings(tmp_path / "a")["name"] == "v1_5"
    write_adapter_hub(tmp_path / "b", hub.make_adapter(), name="sst/it")
    assert settings(tmp_path / "b")["name"] == "sst/it"
    write_adapter_hub(tmp_path / "c", hub.make_adapter(task=None))
    assert settings(tmp_path / "c")["name"] == "adapter"
    again = {"adapter_hub": {"name": "before"}, "task": None}
    write_adapter_hub(tmp_path / "e", hub.make_adapter(**again))
    assert settings(tmp_path / "e")["name"] == "before"
    for name in ("a.b", "", 3):
        with pytest.raises(ValueError, match="name"):
            write_adapter_hub(tmp_path / "d", hub.make_adapter(), name=name)


def test_what_stands_there_is_replaced_only_if_it_is_an_export(hub, tmp_path):
    write_adapter_hub(tmp_path / "out", hub.make_adapter())
    write_adapter_hub(tmp_path / "out", hub.make_adapter(pooling="no head"))
    assert not (tmp_path / "out" / "head_config.json").exists()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    before = sorted(file.read_bytes() for file in (tmp_path / "out").iterdir())
    with pytest.raises(ValueError, match=r"notes\.txt"):
        write_adapter_hub(tmp_path / "out", hub.make_adapter())
    assert sorted(file.read_bytes() for file in (tmp_path / "out").iterdir()) == before
    with pytest.raises(FileExistsError):
        write_adapter_hub(tmp_path / "out" / "notes.txt", hub.make_adapter())
    (tmp_path / "empty").mkdir()
    write_adapter_hub(tmp_path / "empty", hub.make_adapter())


def test_an_edited_card_stays(hub, tmp_path):
    write_adapter_hub(tmp_path / "out", hub.make_adapter())
    card = tmp_path / "out" / "README.md"
    first = card.read_text()
    write_adapter_hub(tmp_path / "out", hub.make_adapter(), name="other")
    assert card.read_text() != first
    card.write_text("# Mine\n")
    write_adapter_hub(tmp_path / "out", hub.make_adapter())
    assert card.read_text() == "# Mine\n"


def test_a_write_that_fails_leaves_the_old(hub, tmp_path, monkeypatch):
    write_adapter_hub(tmp_path / "out", hub.make_adapter())
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("keras_adapters.adapter_hub.writing.write_tensors", full)
    with pytest.raises(OSError, match="No space"):
        write_adapter_hub(tmp_path / "out", hub.make_adapter(labels=("x", "y")))
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before
    assert [folder.name for folder in tmp_path.iterdir()] == ["out"]
