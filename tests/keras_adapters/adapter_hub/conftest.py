import json
import shutil
import types

import numpy as np
import pytest

from keras_adapters.adapter_file import AdapterFile
from keras_adapters.fingerprint import Base
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method

HIDDEN, LAYERS = 16, 2


def make_base(**architecture):
    usual = {"family": "bert", "layers": LAYERS, "norm_first": False, "embedding_scale": 1.0}
    return Base({**usual, **architecture}, {"embeddings/word": "0" * 64})


def make_adapter(trains="nothing", labels=("a", "b", "c"), dense=False, extra=(), **metadata):
    """An adapter in a base of no weights, as a run with such a head would write it."""
    from keras_adapters.adapter_hub.names import adapter_shapes

    rng = np.random.default_rng(0)
    config = metadata.pop("config", AdapterConfig(size=3))
    base = metadata.pop("base", make_base())
    shapes = adapter_shapes(config, HIDDEN, LAYERS) if config else {}
    outputs = metadata.pop("outputs", len(labels) or 1)
    if outputs and metadata.get("pooling", "pooler") != "no head":
        shapes |= {"head/logits/kernel": (HIDDEN, outputs), "head/logits/bias": (outputs,)}
    if dense:
        shapes |= {"head/dense/kernel": (HIDDEN, HIDDEN), "head/dense/bias": (HIDDEN,)}
        metadata["head_activation"] = "tanh"
    shapes |= dict.fromkeys(extra, (HIDDEN,))
    about = {
        "task": "mrpc",
        "pooling": "pooler",
        "form": {"kind": "classification", "columns": 2},
        "labels": list(labels),
        "metrics": {"dev": {"accuracy": 0.5}},
        **metadata,
    }
    tensors = {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}
    return AdapterFile(Method(config, trains), base, tensors, about, {"keras-adapters": "1"})


@pytest.fixture(scope="session")
def hub(fixtures):
    """Helpers, for tests cannot import from a conftest."""
    return types.SimpleNamespace(
        folder=fixtures / "adapter_hub",
        base=make_base(),
        make_base=make_base,
        make_adapter=make_adapter,
    )


@pytest.fixture
def copied(hub, tmp_path):
    """Copies a folder that the real package wrote, with changes to its settings."""

    def copy(name, file="adapter_config.json", /, **changes):
        folder = shutil.copytree(hub.folder / name, tmp_path / name, dirs_exist_ok=True)
        settings = json.loads((folder / file).read_text())
        for key, value in changes.items():
            where = settings if key in settings else settings["config"]
            where[key] = value
        (folder / file).write_text(json.dumps(settings))
        return folder

    return copy
