"""One run: build under a strategy, fit, evaluate, write everything down."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_adapters.saving import load_adapter
from keras_adapters.summary import ParameterCounts, count_parameters
from train import outputs
from train.assembly import Assembly, assemble
from train.config import RunConfig
from train.encoders.find import EncoderFiles
from train.fit.agreement import check_agreement
from train.fit.checkpoints import TrainingCheckpoints
from train.fit.input_pipeline import steps_per_epoch
from train.fit.interruptions import Interruptions
from train.fit.logs import TensorBoardLogs
from train.fit.loop import DevMetrics, Plan, fit, plan_training
from train.fit.predictor import Predictor
from train.fit.progress import ThroughputBar
from train.fit.safeguards import Safeguards
from train.fit.strategies import telling_of_lost_peers
from train.objectives.objective import Objective, Predict
from train.results import machine, peak_memory, settings, versions
from train.run_folder import RunFolder
from train.tasks.data import TaskData
from train.tasks.squad import SquadData

_EVALUATION_BATCH = 64


def run(
    config: RunConfig,
    data: TaskData | SquadData,
    files: EncoderFiles,
    folder: RunFolder,
    strategy: tf.distribute.Strategy,
    interruptions: Interruptions,
) -> dict[str, Any] | None:
    """Trains and evaluates one model and writes the run's files.

    Args:
      config: the run, settled.
      data: the task's examples.
      files: the encoder's files.
      folder: where the files go. If it holds checkpoints of the same run, training goes
        on from the last.
      strategy: where to train.
      interruptions: tells of signals.

    Returns:
      What stands in `results.json`: parameter counts, metrics, seconds, examples per
      second, bytes of peak memory and versions. `None` in a worker that is not the first,
      which writes no files.

    Raises:
      Preempted: a signal came; the state is saved.
      FloatingPointError: the loss became NaN or infinite.
      ConnectionError: another worker or the TPU stopped.
      OSError, ValueError: as the parts of a run say.
    """
    start = time.monotonic()
    progress = ThroughputBar(config.fit.batch_size, config.fit.epochs)
    with telling_of_lost_peers(strategy):
        with interruptions.during("building the model"):
            check_agreement(strategy, folder.facts())
            built = assemble(config, data, files, folder, strategy)
        counts = count_parameters(built.model, built.encoder)
        _describe(built, counts)
        _compute_features(built, interruptions)
        with interruptions.during("planning the batches"):
            plan = _plan(built)
        predictor = _predictor(built)
        last = _fit(built, plan, predictor, progress, interruptions)
        with interruptions.during("evaluating"):
            predict = _predict(built, predictor)
            metrics = evaluate(built.objective, predict, last)
            predicted = built.objective.predict_test(predict) if config.keep.predict_test else None
    if not folder.writes:
        return None
    outputs.write_adapter(built, metrics, interruptions)
    if config.keep.predict_test:
        outputs.write_predictions(built, predicted, interruptions)
    if config.keep.export:
        outputs.export(built, interruptions)
    results = {
        **settings(config),
        "parameters": {**dataclasses.asdict(counts), "trained_percent": counts.trained_percent},
        "metrics": metrics,
        "examples": built.objective.sizes(),
        "adapter_bytes": sum(file.stat().st_size for file in folder.adapter.iterdir()),
        "examples_per_second": progress.examples_per_second,
        **_useful_tokens(built, plan),
        **_features(built),
        **peak_memory(),
        "seconds": time.monotonic() - start,
        "machine": machine(),
        "versions": versions(),
    }
    folder.write_results(results)
    return results


def evaluate(
    objective: Objective, predict: Predict, dev: dict[str, float] | None = None
) -> dict[str, dict[str, float]]:
    """Returns the metrics of all labelled splits but train.

    Args:
      objective: what was trained for.
      predict: of the model as it was trained last.
      dev: the metrics of dev after the last step, if they are known; they are not computed again.
    """
    known = {} if dev is None else {"dev": dev}
    left = [name for name in objective.splits if name not in known]
    found = known | objective.evaluate(predict, left)
    return {name: found[name] for name in objective.splits}


def complete(
    config: RunConfig,
    data: TaskData | SquadData,
    files: EncoderFiles,
    folder: RunFolder,
    interruptions: Interruptions,
) -> None:
    """Makes what a finished run was not asked for, or has lost, from what it trained.

    Args:
      config: the run, settled.
      data: the task's examples.
      files: the encoder's files.
      folder: of the finished run; its `missing` outputs are made.
      interruptions: tells of signals.

    Raises:
      FileNotFoundError: neither the adapter nor a checkpoint of the last step is there.
      OSError, ValueError: as the parts of a run say.
    """
    missing = folder.missing()
    with interruptions.during("building the model"):
        built = assemble(config, data, files, folder, tf.distribute.get_strategy())
        if "adapter" not in missing:
            _load_adapter(built)
        elif not _restore_last(built):
            raise FileNotFoundError(
                f"{folder.path} has finished, but what it trained is gone: there is neither "
                "adapter/ nor a checkpoint of the last step. To train again, name another "
                "--output_dir"
            )
    if "adapter" in missing:
        outputs.write_adapter(built, (folder.results() or {}).get("metrics", {}), interruptions)
    if "predictions" in missing:
        with interruptions.during("predicting the test splits"):
            predicted = built.objective.predict_test(_predict(built, _predictor(built)))
        outputs.write_predictions(built, predicted, interruptions)
    if "saved_model" in missing:
        outputs.export(built, interruptions)


def _load_adapter(built: Assembly) -> None:
    path = built.folder.adapter
    try:
        load_adapter(path, built.model, built.encoder)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{path} cannot be loaded: {error}. Remove it and run the same command again: it is "
            "made anew from the run's last checkpoint"
        ) from error


def _describe(built: Assembly, counts: ParameterCounts) -> None:
    config = built.config
    print(
        f"Task {config.task}: {built.objective.describe()}\n"
        f"Method {config.method.name}: {counts.trained:,} of {counts.total:,} parameters train "
        f"({counts.trained_percent:.2f}%), peak learning rate {config.fit.learning_rate:g}"
    )


def _compute_features(built: Assembly, interruptions: Interruptions) -> None:
    """Computes the features that are lacking now, and not in the midst of training."""
    if built.features is None:
        return
    with interruptions.during("computing the features"):
        for name, source in {"train": built.objective.train, **built.objective.sources}.items():
            built.readable(source, name)
    kept = built.features
    print(
        f"Features: {kept.computed:,} computed and {kept.read:,} read in {kept.seconds:.1f} s, "
        f"kept in {built.config.keep.feature_cache}"
    )


def _features(built: Assembly) -> dict[str, Any]:
    """Returns what `results.json` says of features: examples, and the seconds they took."""
    features = built.features
    if features is None:
        return {}
    told = {name: getattr(features, name) for name in ("computed", "read", "seconds")}
    return {"features": told}


def _plan(built: Assembly) -> Plan:
    fit = built.config.fit
    return plan_training(
        built.readable(built.objective.train),
        built.strategy,
        batch_size=fit.batch_size,
        epochs=fit.epochs,
        seed=fit.seed,
        execution=built.execution,
    )


def _useful_tokens(built: Assembly, plan: Plan) -> dict[str, float]:
    """Returns what `results.json` says of padding, where an encoder is trained on texts."""
    source = built.objective.train
    if not source.packs or built.features is not None:
        return {}
    share = plan.useful_token_share(source, built.config.model.max_seq_length)
    return {"useful_token_share": share}


def _fit(
    built: Assembly,
    plan: Plan,
    predictor: Predictor,
    progress: ThroughputBar,
    interruptions: Interruptions,
) -> dict[str, float] | None:
    """Trains to the last step; returns dev's metrics after it, if an epoch was left to train."""
    config, objective, folder = built.config, built.objective, built.folder
    checkpoints = _checkpoints(built)
    step = checkpoints.restore()
    check_agreement(built.strategy, {"the last step in --output_dir": step})
    if step > len(plan.order):
        raise ValueError(
            f"{folder.checkpoints} holds the state of step {step}, of a run of more steps: this "
            f"one has {len(plan.order)}. Name another --output_dir, or remove those checkpoints"
        )
    if step:
        print(f"Going on after step {step} of the run in {folder.path}")
    interval = 60 * config.keep.checkpoint_minutes
    with (
        Safeguards(checkpoints, interval, interruptions) as safeguards,
        contextlib.closing(progress),
    ):
        predict = _predict(built, predictor, safeguards.stop_if_asked)
        dev = DevMetrics(lambda: objective.evaluate(predict, ["dev"])["dev"])
        callbacks = [dev, progress]
        if folder.writes:
            callbacks.append(TensorBoardLogs(folder.logs))
        fit(
            built.fitted,
            built.readable(objective.train),
            built.strategy,
            plan,
            steps_done=step,
            callbacks=[*callbacks, safeguards],
        )
    return dev.last


def _predictor(built: Assembly) -> Predictor:
    return Predictor(built.fitted, built.strategy, _EVALUATION_BATCH, built.execution)


def _predict(
    built: Assembly, predictor: Predictor, between: Callable[[], None] = lambda: None
) -> Predict:
    return lambda source: predictor(built.readable(source), between)


def _checkpoints(built: Assembly) -> TrainingCheckpoints:
    folder, keep = built.folder, built.config.keep
    return TrainingCheckpoints(
        folder.checkpoints, built.fitted, keep.keep_checkpoints, folder.writes
    )


def _restore_last(built: Assembly) -> bool:
    """Restores the state after the last step; returns whether it is there."""
    return _checkpoints(built).restore() == _steps(built)


def _steps(built: Assembly) -> int:
    fit = built.config.fit
    return fit.epochs * steps_per_epoch(len(built.objective.train), fit.batch_size)
