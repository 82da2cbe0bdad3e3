import json

import pytest

from train.config import RunConfig
from train.tasks.table import TASKS

BASE = 1_000_000
HIDDEN, LAYERS, HEAD = 100, 4, 400


def trained_parameters(config):
    """Parameters that train, as they would be of a small encoder."""
    method = config.method
    if method is None or method.name == "full":
        return BASE + HEAD
    if method.name == "top_layers":
        return method.top_layers * BASE // 5 + HEAD
    norms = 0 if method.trains == "nothing" else 2 * HIDDEN * (2 * LAYERS + 1)
    size = method.insertion.size if method.insertion else 0
    adapters = 2 * LAYERS * (2 * size * HIDDEN + HIDDEN + size) if size else 0
    return adapters + norms + HEAD


@pytest.fixture(scope="session")
def write_run():
    """Writes the folder of a finished run: true settings, and scores as given."""

    def write_run(
        folder, task="reuters_r8", dev=0.5, test=None, insertion=None, results=None, **settings
    ):
        if settings.get("method", "adapters") == "adapters":
            settings.setdefault("adapter_size", 64)
        settings = {"learning_rate": 1e-3, "epochs": 3, **settings}
        config = RunConfig.from_settings(task, output_dir=str(folder), **settings)
        trained = trained_parameters(config)
        total = BASE + HEAD if trained > BASE else BASE + HEAD + trained
        names = TASKS[task].metrics
        scores = {"dev": dev} if test is None else {"dev": dev, "test": test}
        content = config.to_json_dict() | {"data": 7, "encoder": "e", "encoder_files": "f"}
        content["method"]["insertion"] = content["method"]["insertion"] and (
            content["method"]["insertion"] | (insertion or {})
        )
        finished = {
            "task": task,
            "method": config.method.name,
            "adapter_size": settings.get("adapter_size"),
            "encoder": config.model.encoder,
            "seed": config.fit.seed,
            "parameters": {
                "base": BASE,
                "total": total,
                "trained": trained,
                "trained_percent": 100 * trained / total,
            },
            "metrics": {split: dict.fromkeys(names, score) for split, score in scores.items()},
            "examples": {"train": 100, "test": 0} | dict.fromkeys(scores, 50),
            "adapter_bytes": 4 * trained,
            "examples_per_second": 10.0,
            "peak_memory_bytes": 10**9,
            "seconds": 60.0,
            "versions": {"tensorflow": "2.20.0"},
        }
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(content))
        (folder / "results.json").write_text(json.dumps(finished | (results or {})))
        return folder

    return write_run
