import huggingface_hub
import numpy as np
import pytest

from keras_adapters.adapter_file import AdapterFile, write_adapter
from keras_adapters.fingerprint import Base
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method

BASE = Base({"family": "bert"}, {"pooler/bias": "0" * 64})


def write(folder, **metadata):
    tensors = {"head/logits/kernel": np.ones((4, 3), "float32")}
    write_adapter(folder, AdapterFile(Method(AdapterConfig(4)), BASE, tensors, metadata))
    return (folder / "README.md").read_text(encoding="utf-8")


def test_the_hub_reads_what_it_tells(tmp_path):
    text = write(
        tmp_path,
        task="reuters_r8",
        base_model="google-bert/bert-base-uncased",
        form={"kind": "classification", "columns": 1},
        labels=["acq", "earn"],
        metrics={"test": {"accuracy": 0.95, "many": 10**400, "flag": True}},
    )
    card = huggingface_hub.ModelCard(text).data
    assert card.library_name == "keras-adapters"
    assert card.base_model == "google-bert/bert-base-uncased"
    assert card.pipeline_tag == "text-classification"
    (result,) = card.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.95)
    for part in ("`acq`, `earn`", "| accuracy (test) | 0.9500 |", "12 parameters in 1 tensors"):
        assert part in text
    assert BASE.fingerprint in text


def test_it_keeps_in_step_until_somebody_edits_it(tmp_path):
    assert "# Adapter: first" in write(tmp_path, task="first")
    second = write(tmp_path, task="second")
    assert "# Adapter: second" in second
    edited = second.replace("# Adapter: second", "# My adapter")
    (tmp_path / "README.md").write_text(edited, encoding="utf-8")
    assert write(tmp_path, task="third") == edited
    (tmp_path / "README.md").unlink()
    assert "# Adapter: fourth" in write(tmp_path, task="fourth")


ODD = [
    {"task": ["x"], "form": [], "labels": {}, "metrics": [1], "language": 5, "base_model": {}},
    {"task": "a\nb | c", "labels": ["x|y", "", 5, None], "encoder": "x\n```\nimport os"},
    {"task": "x", "metrics": {"": {"": 0.5}, "dev": {"é: - [": -0.0, "b": None}}, "form": None},
    {"task": "- [x]: {}", "base_model": "yes", "language": "no", "form": {"kind": ["spans"]}},
    {"task": "", "metrics": {"dev": {"accuracy": 1}}},
]


@pytest.mark.parametrize("metadata", ODD, ids=range(len(ODD)))
def test_whatever_the_metadata_holds_there_is_a_card(metadata, tmp_path):
    text = write(tmp_path, **metadata)
    card = huggingface_hub.ModelCard(text)
    assert card.data.library_name == "keras-adapters"
    assert sum(line.startswith("```") for line in text.splitlines()) == 2
    assert sum(line.startswith("| ") for line in text.splitlines()) >= 6
