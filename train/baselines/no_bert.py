"""A run without BERT: a search over many models of one task's texts, and the best of them.

This is the kind of baseline that section 3.3 of Houlsby et al. 2019 compares adapters with: an
AutoML search over single-task models, whose test accuracy averages 72.7 over the seventeen
tasks of table 2, where fine-tuning BERT-base has 73.7. Nothing here was pretrained.

Models are fitted on train and chosen by the task's first metric on dev. The best is then fitted
again on train alone, as it was when it was chosen: with dev in it, the metrics of dev would no
longer be those of texts that the model has not seen, as they are of every other method.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from keras_adapters.atomic import atomic_folder, write_text
from train.baselines.search import Trials, search
from train.baselines.text_models import VERSION, build, count_coefficients, outputs, suggest
from train.config import RunConfig
from train.fit.interruptions import Interruptions
from train.objectives.text.metrics import evaluate
from train.results import machine, peak_memory, settings, versions
from train.run_folder import RunFolder
from train.tasks.data import Examples, TaskData, sample_train
from train.tasks.forms import Regression
from train.tasks.table import TASKS

_PACKAGES = ("keras-adapters", "scikit-learn", "scipy", "numpy", "optuna", "skops")


def run(
    config: RunConfig, data: TaskData, folder: RunFolder, interruptions: Interruptions
) -> dict[str, Any]:
    """Searches, evaluates the best model and writes the run's files.

    Args:
      config: the run, settled, with a search.
      data: the task's examples.
      folder: where the files go. If it holds trials of the same run, the search goes on
        after them.
      interruptions: tells of signals.

    Returns:
      What stands in `results.json`: as of other methods, where parameters are the numbers that
      were fitted, and with the settings of the best model under `search`.

    Raises:
      Preempted: a signal came; the trials that were over are kept.
      OSError, ValueError: as the parts of a run say.
    """
    start = time.monotonic()
    data = sample_train(data, config.fit.max_train_examples, config.fit.seed)
    sizes = {"train": len(data.train), "test": 0}
    sizes |= {name: len(split) for name, split in data.labelled().items()}
    shown = ", ".join(f"{size} {name}" for name, size in sizes.items() if size)
    print(f"Task {config.task}: examples: {shown}\nMethod no_bert: {config.search}")
    trials = Trials(folder.trials, VERSION)
    if trials.records:
        print(f"Going on after {len(trials.records)} trials of the run in {folder.path}")
    metric = TASKS[config.task].metrics[0]

    def score(drawn: dict[str, Any]) -> float:
        return _evaluate(config, data, _fit(config, data, drawn), "dev")[metric]

    with interruptions.during("searching"):
        best = search(
            trials,
            config.search,
            config.fit.seed,
            lambda trial: suggest(
                trial, columns=len(data.train.columns), is_regression=_is_regression(config)
            ),
            score,
        )
    print(f"Best of {len(trials.records)}: {metric} {best.score:.4f} on dev, {best.settings}")
    with interruptions.during("fitting the best model"):
        model = _fit(config, data, best.settings)
        metrics = {name: _evaluate(config, data, model, name) for name in data.labelled()}
        if config.keep.export:
            _save(model, config, data, best.settings, folder)
    count = count_coefficients(model)
    files = folder.model.iterdir() if config.keep.export else ()
    results = {
        **settings(config),
        "parameters": {"base": 0, "total": count, "trained": count, "trained_percent": 100.0},
        "metrics": metrics,
        "examples": sizes,
        "adapter_bytes": sum(file.stat().st_size for file in files),
        "examples_per_second": None,
        "search": {
            "trials": len(trials.records),
            "failed": sum(record.score is None for record in trials.records),
            "seconds": sum(record.seconds for record in trials.records),
            "best": best.settings,
        },
        **peak_memory(),
        "seconds": time.monotonic() - start,
        "machine": machine(),
        "versions": versions(_PACKAGES),
    }
    folder.write_results(results)
    return results


def complete(
    config: RunConfig, data: TaskData, folder: RunFolder, interruptions: Interruptions
) -> None:
    """Writes the model of a finished run that was not asked for it, or has lost it.

    Args: as `run`.

    Raises:
      Preempted: a signal came.
      FileNotFoundError: the trials are gone.
      OSError, ValueError: they cannot be read, or the model cannot be written.
    """
    with interruptions.during("fitting the best model"):
        data = sample_train(data, config.fit.max_train_examples, config.fit.seed)
        trials = Trials(folder.trials, VERSION)
        if not trials.records:
            raise FileNotFoundError(
                f"{folder.path} has finished, but its trials are gone, {folder.trials.name} and "
                "with it the settings of the best model. To search again, name another "
                "--output_dir"
            )
        best = trials.best()
        _save(_fit(config, data, best.settings), config, data, best.settings, folder)


def _fit(config: RunConfig, data: TaskData, drawn: Mapping[str, Any]) -> Pipeline:
    model = build(drawn, is_regression=_is_regression(config), seed=config.fit.seed)
    labels = data.train.labels
    if data.label_names:  # The model answers with names.
        labels = np.array(data.label_names)[labels]
    with warnings.catch_warnings():  # That a model has not converged is one more of its settings.
        warnings.simplefilter("ignore")
        return model.fit(_texts(data.train), labels)


def _evaluate(config: RunConfig, data: TaskData, model: Pipeline, split: str) -> dict[str, float]:
    examples = data.labelled()[split]
    said = outputs(model, _texts(examples), data.label_names)
    return evaluate(TASKS[config.task].metrics, examples.labels, said)


def _save(
    model: Pipeline,
    config: RunConfig,
    data: TaskData,
    best: Mapping[str, Any],
    folder: RunFolder,
) -> None:
    """Writes the model by skops, whose files, unlike pickles, run no code when they are read."""
    from skops import io  # It takes seconds.

    told = {
        "task": config.task,
        "columns": len(data.train.columns),
        "labels": list(data.label_names),
        "settings": dict(best),
        "versions": versions(_PACKAGES),
    }
    try:
        with atomic_folder(folder.model) as path:
            io.dump(model, path / "model.skops")
            write_text(path / "model.json", json.dumps(told, indent=2) + "\n")
    except OSError as error:
        raise OSError(
            f"{folder.model} cannot be written: {error}. The trials are kept: make room, then run "
            "the same command to go on"
        ) from error


def _is_regression(config: RunConfig) -> bool:
    return isinstance(TASKS[config.task].form, Regression)


def _texts(examples: Examples) -> list[Any]:
    if len(examples.columns) == 1:
        return examples.columns[0]
    return list(zip(*examples.columns, strict=True))
