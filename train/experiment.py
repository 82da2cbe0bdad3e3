"""One run: build under a strategy, fit, evaluate, write everything down."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import Any

import tensorflow as tf
import tf_keras

from keras_adapters.adapter_file import save_adapter
from keras_adapters.converters.load import load_encoder
from keras_adapters.model_garden.freezing import count_parameters
from keras_adapters.preprocessor import BertPreprocessor
from train.config import RunConfig
from train.encoders.find import EncoderFiles, find_encoder
from train.fit import strategies
from train.fit.checkpoints import TrainingCheckpoints
from train.fit.dropout import DropoutSeeds
from train.fit.input_pipeline import steps_per_epoch
from train.fit.loop import DevMetrics, fit
from train.fit.optimization import make_optimizer
from train.fit.predictor import Predictor
from train.fit.progress import ThroughputBar
from train.fit.rematerialization import rematerialize
from train.fit.safeguards import Preempted, Safeguards
from train.objectives.spans.objective import SpanExtraction
from train.objectives.text.objective import TextTask
from train.results import peak_memory, settings, versions
from train.run_folder import RunFolder
from train.tasks.data import TaskData
from train.tasks.squad import SquadData
from train.tasks.table import TASKS

__all__ = ["Preempted", "run"]

_EVALUATION_BATCH = 64
_TPU_STEPS_PER_EXECUTION = 32
# Parts of a sorted batch are padded to their own lengths, which costs a CPU nothing else; and
# while one part's gradient is computed, the next part keeps the other cores busy.
_CPU_PARTS = 4
_CPU_PARTS_AT_ONCE = 2


def run(config: RunConfig, data: TaskData | SquadData, folder: RunFolder) -> dict[str, Any] | None:
    """Trains and evaluates one model and writes the run's files.

    Args:
      config: the run.
      data: the task's examples.
      folder: where the files go. If it holds checkpoints of the same run, training goes
        on from the last.

    Returns:
      What stands in `results.json`: parameter counts, metrics, seconds, examples per
      second, bytes of peak memory and versions. `None` in a worker that is not the first,
      which writes no files.

    Raises:
      Preempted: SIGTERM came; the state is saved.
      FloatingPointError: the loss became NaN or infinite.
      ConnectionError: another worker or the TPU stopped.
      OSError, ValueError: as the parts of a run say.
    """
    start = time.monotonic()
    strategy = strategies.make_strategy(config.strategy, config.tpu)
    _check_batch(config, strategy)
    _set_up(config)
    files = find_encoder(config.encoder)
    if config.max_train_examples:
        train = data.train.sample(config.max_train_examples, config.seed)
        data = dataclasses.replace(data, train=train)
    task = _make_task(config, files, data)
    with strategy.scope():
        model, encoder = _compiled_model(config, files, task)
    counts = count_parameters(model, encoder)
    print(
        f"Task {config.task}: {task.describe()}\n"
        f"Method {config.method}: {counts.trained:,} of {counts.total:,} parameters train "
        f"({counts.trained_percent:.2f}%), peak learning rate {config.learning_rate:g}"
    )
    progress = ThroughputBar(config.batch_size, config.epochs)
    try:
        metrics, predicted = _fit_and_evaluate(config, folder, strategy, model, task, progress)
    except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
        who = "the TPU" if _on_tpu(strategy) else "another worker"
        raise ConnectionError(
            f"{who} has stopped; its own log says why. Start again what took part, with the same "
            "commands: training goes on from the last checkpoint"
        ) from error
    if not strategies.is_chief(strategy):
        return None
    save_adapter(folder.adapter, model, encoder, _metadata(config, files, task))
    if predicted is not None:
        task.write_predictions(folder.path, predicted)
    if config.export:
        task.export(folder.saved_model, model)
    results = {
        **settings(config),
        "parameters": {**dataclasses.asdict(counts), "trained_percent": counts.trained_percent},
        "metrics": metrics,
        "examples": task.sizes(),
        "adapter_bytes": sum(file.stat().st_size for file in folder.adapter.iterdir()),
        "examples_per_second": progress.examples_per_second,
        **peak_memory(),
        "seconds": time.monotonic() - start,
        "versions": versions(),
    }
    folder.write_results(results)
    return results


def _set_up(config: RunConfig) -> None:
    tf_keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    policy = "mixed_bfloat16" if config.precision == "bfloat16" else "float32"
    tf_keras.mixed_precision.set_global_policy(policy)


def _make_task(
    config: RunConfig, files: EncoderFiles, data: TaskData | SquadData
) -> TextTask | SpanExtraction:
    preprocess = BertPreprocessor(files.vocab_file, files.lower_case, config.max_seq_length)
    row = TASKS[config.task]
    if row.kind == "span":
        return SpanExtraction(data, preprocess)
    return TextTask(row, data, preprocess)


def _check_batch(config: RunConfig, strategy: tf.distribute.Strategy) -> None:
    replicas, parts = strategy.num_replicas_in_sync, config.gradient_accumulation_steps or 1
    if config.batch_size % (replicas * parts):
        raise ValueError(
            f"--batch_size={config.batch_size} must be a multiple of {replicas * parts}: "
            f"{replicas} replicas, each with --gradient_accumulation_steps={parts}"
        )


def _parts(config: RunConfig, strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """Returns in how many parts each replica computes its batch, and how many at once."""
    if config.gradient_accumulation_steps:
        return config.gradient_accumulation_steps, 1
    on_cpu = not _on_tpu(strategy) and not tf.config.list_physical_devices("GPU")
    divides = config.batch_size // strategy.num_replicas_in_sync % _CPU_PARTS == 0
    return (_CPU_PARTS, _CPU_PARTS_AT_ONCE) if on_cpu and divides else (1, 1)


def _compiled_model(
    config: RunConfig, files: EncoderFiles, task: TextTask | SpanExtraction
) -> tuple[tf_keras.Model, tf_keras.layers.Layer]:
    pooling = _pooling(config, files)
    encoder = load_encoder(files.path, output_range=task.output_range(pooling))
    if config.rematerialize:
        rematerialize(encoder)
    model = task.build(
        encoder,
        pooling,
        **({} if config.head_dropout is None else {"dropout": config.head_dropout}),
        method=config.method,
        adapter=config.adapter,
        top_layers=config.top_layers,
    )
    steps = steps_per_epoch(len(task.train), config.batch_size)
    model.compile(
        optimizer=make_optimizer(config.learning_rate, steps * config.epochs),
        loss=task.loss,
        loss_weights=task.loss_weights,
        steps_per_execution=min(steps, _steps_per_execution(config)),
    )
    model.parts, model.parts_at_once = _parts(config, tf.distribute.get_strategy())
    model.trim_parts = not _on_tpu(tf.distribute.get_strategy())
    model.dropout_seeds = DropoutSeeds(model, config.seed, model.optimizer.iterations)
    return model, encoder


def _fit_and_evaluate(
    config: RunConfig,
    folder: RunFolder,
    strategy: tf.distribute.Strategy,
    model: tf_keras.Model,
    task: TextTask | SpanExtraction,
    progress: ThroughputBar,
) -> tuple[dict[str, dict[str, float]], Any]:
    chief = strategies.is_chief(strategy)
    fixed_length = _on_tpu(strategy)
    checkpoints = TrainingCheckpoints(folder.checkpoints, model, config.keep_checkpoints, chief)
    step = checkpoints.restore()
    if step:
        print(f"Going on after step {step} of the run in {folder.path}")
    interval = 60 * config.checkpoint_minutes
    with Safeguards(checkpoints, interval) as safeguards, contextlib.closing(progress):
        predict = Predictor(
            model, strategy, _EVALUATION_BATCH, fixed_length, safeguards.stop_if_asked
        )
        callbacks = [DevMetrics(lambda: task.evaluate(predict, ["dev"])["dev"]), progress]
        if chief:
            callbacks.append(
                tf_keras.callbacks.TensorBoard(folder.logs, write_graph=False, update_freq=50)
            )
        fit(
            model,
            task.train,
            strategy,
            batch_size=config.batch_size,
            epochs=config.epochs,
            seed=config.seed,
            steps_done=step,
            fixed_length=fixed_length,
            callbacks=[*callbacks, safeguards],
        )
        metrics = task.evaluate(predict, task.splits)
        return metrics, task.predict_test(predict) if config.predict_test else None


def _on_tpu(strategy: tf.distribute.Strategy) -> bool:
    return isinstance(strategy, tf.distribute.TPUStrategy)


def _steps_per_execution(config: RunConfig) -> int:
    on_tpu = _on_tpu(tf.distribute.get_strategy())
    return config.steps_per_execution or (_TPU_STEPS_PER_EXECUTION if on_tpu else 1)


def _pooling(config: RunConfig, files: EncoderFiles) -> str:
    return files.pooling if config.pooling == "auto" else config.pooling


def _metadata(
    config: RunConfig, files: EncoderFiles, task: TextTask | SpanExtraction
) -> dict[str, Any]:
    return {
        "task": config.task,
        "method": config.method,
        "encoder": config.encoder,
        "pooling": _pooling(config, files),
        "max_seq_length": config.max_seq_length,
        **task.metadata(),
    }
