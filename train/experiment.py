"""One run: build under a strategy, fit, evaluate, write everything down."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import resource
import sys
import time
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from keras_adapters.adapter_file import save_adapter
from keras_adapters.converters.load import load_encoder
from keras_adapters.freezing import ParameterCounts, count_parameters
from train import encoders, input_pipeline, strategies
from train.config import RunConfig
from train.export import export_classifier
from train.metrics import classification_metrics
from train.model import build_classifier
from train.optimization import make_optimizer
from train.progress import ThroughputBar
from train.run_folder import RunFolder
from train.tasks.data import Examples, TaskData
from train.text import BertPreprocessor

_VERSIONS = ("keras-adapters", "tensorflow", "tf-keras", "tf-models-official", "tensorflow-text")
_EVALUATION_BATCH = 64


def run(config: RunConfig, data: TaskData, folder: RunFolder) -> dict[str, Any]:
    """Trains and evaluates one model and writes the run's files.

    Args:
      config: the run.
      data: the task's examples.
      folder: where the files go. If it holds the checkpoint of an epoch of the same
        run, training goes on after that epoch.

    Returns:
      What stands in `results.json`: parameter counts, metrics in [0, 1], seconds,
      examples per second, bytes of peak memory and versions.
    """
    start = time.monotonic()
    tf_keras.utils.set_random_seed(config.seed)
    policy = "mixed_bfloat16" if config.precision == "bfloat16" else "float32"
    tf_keras.mixed_precision.set_global_policy(policy)
    files = encoders.find(config.encoder)
    preprocess = BertPreprocessor(files.vocab_file, files.lower_case, config.max_seq_length)
    train = data.train
    if config.max_train_examples:
        train = train.sample(config.max_train_examples, config.seed)

    strategy = strategies.make_strategy(config.strategy, config.tpu)
    fixed_length = isinstance(strategy, tf.distribute.TPUStrategy)
    with strategy.scope():
        model, encoder = _compiled_model(config, files, len(data.label_names), len(train))
    counts = count_parameters(model, encoder)
    _announce(config, data, train, counts)

    evaluation = {
        split: input_pipeline.evaluation_batches(
            examples, preprocess, _EVALUATION_BATCH, fixed_length
        )
        for split, examples in {"dev": data.dev, "test": data.test}.items()
        if examples is not None
    }
    training = input_pipeline.training_batches(
        train, preprocess, config.batch_size, config.seed, fixed_length
    )
    progress = ThroughputBar(len(train), config.batch_size)
    _fit(model, training, evaluation["dev"], config.epochs, folder, progress)
    metrics = {
        split: classification_metrics(
            getattr(data, split).labels, np.asarray(model.predict(batches, verbose=0))
        )
        for split, batches in evaluation.items()
    }
    save_adapter(folder.adapter, model, encoder, _adapter_metadata(config, files, data))
    if config.export:
        columns = len(data.train.columns)
        export_classifier(folder.saved_model, model, preprocess, data.label_names, columns)
    results = {
        "task": config.task,
        "method": config.method,
        "adapter_size": config.adapter.size if config.adapter else None,
        "encoder": config.encoder,
        "seed": config.seed,
        "parameters": {
            **dataclasses.asdict(counts),
            "trained_percent": counts.trained_percent,
        },
        "metrics": metrics,
        "examples": {
            "train": len(train),
            "dev": len(data.dev),
            "test": len(data.test) if data.test else 0,
        },
        "adapter_bytes": sum(file.stat().st_size for file in folder.adapter.iterdir()),
        "examples_per_second": progress.examples_per_second,
        "peak_memory_bytes": _peak_memory(),
        "seconds": time.monotonic() - start,
        "versions": {name: _version(name) for name in _VERSIONS},
    }
    folder.write_results(results)
    return results


def _compiled_model(
    config: RunConfig, files: encoders.EncoderFiles, classes: int, train_examples: int
) -> tuple[tf_keras.Model, tf_keras.layers.Layer]:
    pooling = _pooling(config, files)
    # The first position is all that the pooler reads.
    encoder = load_encoder(files.path, output_range=1 if pooling == "pooler" else None)
    model = build_classifier(
        encoder,
        classes,
        method=config.method,
        adapter=config.adapter,
        top_layers=config.top_layers,
        pooling=pooling,
    )
    steps = -(-train_examples // config.batch_size) * config.epochs
    model.compile(
        optimizer=make_optimizer(config.learning_rate, steps),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model, encoder


def _fit(
    model: tf_keras.Model,
    training: tf.data.Dataset,
    dev: tf.data.Dataset,
    epochs: int,
    folder: RunFolder,
    progress: ThroughputBar,
) -> None:
    model.fit(
        training,
        epochs=epochs,
        validation_data=dev,
        verbose=0,
        callbacks=[
            progress,
            tf_keras.callbacks.TensorBoard(folder.logs, write_graph=False, update_freq=50),
            tf_keras.callbacks.BackupAndRestore(folder.checkpoints, delete_checkpoint=False),
        ],
    )


def _pooling(config: RunConfig, files: encoders.EncoderFiles) -> str:
    return files.pooling if config.pooling == "auto" else config.pooling


def _announce(config: RunConfig, data: TaskData, train: Examples, counts: ParameterCounts) -> None:
    print(
        f"Task {config.task}: {len(data.label_names)} classes, {len(train)} train and "
        f"{len(data.dev)} dev examples\n"
        f"Method {config.method}: {counts.trained:,} of {counts.total:,} parameters train "
        f"({counts.trained_percent:.2f}%), peak learning rate {config.learning_rate:g}"
    )


def _adapter_metadata(
    config: RunConfig, files: encoders.EncoderFiles, data: TaskData
) -> dict[str, Any]:
    return {
        "task": config.task,
        "method": config.method,
        "encoder": config.encoder,
        "pooling": _pooling(config, files),
        "max_seq_length": config.max_seq_length,
        "labels": list(data.label_names),
    }


def _peak_memory() -> int:
    """Returns the process's peak resident memory so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
