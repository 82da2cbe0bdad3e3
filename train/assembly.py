"""What a run works with: objective, encoder and compiled model, put together."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import tensorflow as tf
import tf_keras

from keras_adapters.adapter_file import read_metadata
from keras_adapters.converters.load import load_encoder
from keras_adapters.original import base_of
from keras_adapters.preprocessor import BertPreprocessor
from keras_adapters.saving import collect, load_adapter
from train.baselines.feature_cache import FeatureCache
from train.config import RunConfig
from train.encoders.find import EncoderFiles
from train.fit.compile import compile_model
from train.fit.execution import Execution, plan_execution
from train.fit.fused_block import fuse
from train.fit.input_pipeline import Source, steps_per_epoch
from train.fit.rematerialization import rematerialize
from train.fit.step import AccumulatingModel
from train.objectives.model import split_classifier
from train.objectives.objective import Objective
from train.objectives.packed import pack_classifier
from train.objectives.table import make_objective
from train.run_folder import RunFolder
from train.settle import init_checksum
from train.tasks.data import TaskData, sample_train
from train.tasks.squad import SquadData
from train.tasks.table import TASKS


@dataclasses.dataclass(frozen=True)
class Assembly:
    """What a run works with.

    Args:
      config: the run, settled.
      files: the encoder's files.
      folder: where the run's files go.
      strategy: where it runs.
      execution: how a batch is computed there.
      objective: what trains and is scored.
      encoder: the pretrained encoder with what the method inserts.
      model: the model around it.
      fitted: what is compiled and trained: the model, its head alone where features are kept,
        or what its layers make of packed texts.
      features: what keeps them, if they are kept.
    """

    config: RunConfig
    files: EncoderFiles
    folder: RunFolder
    strategy: tf.distribute.Strategy
    execution: Execution
    objective: Objective
    encoder: tf_keras.layers.Layer
    model: tf_keras.Model
    fitted: AccumulatingModel
    features: FeatureCache | None

    def readable(self, source: Source, name: str = "") -> Source:
        """Returns what `fitted` reads of a split, once its features are there if it reads them.

        Args:
          source: of the objective.
          name: the split's, for a progress bar.

        Raises:
          OSError: as `FeatureCache.source` does.
        """
        return self.features.source(source, name) if self.features else source

    def metadata(self) -> dict[str, Any]:
        """Returns what the adapter's file says of the run, but for its metrics."""
        config = self.config
        return {
            "task": config.task,
            "method": config.method.name,
            "encoder": config.model.encoder,
            "base_model": self.files.hub_name,
            "pooling": config.model.pooling,
            "preprocessing": {
                "max_seq_length": config.model.max_seq_length,
                "lower_case": self.files.lower_case,
                "vocabulary": hashlib.sha256(self.files.vocab_file.read_bytes()).hexdigest(),
            },
            **self.objective.metadata(),
            "seed": config.fit.seed,
        }


@tf.autograph.experimental.do_not_convert
def assemble(
    config: RunConfig,
    data: TaskData | SquadData,
    files: EncoderFiles,
    folder: RunFolder,
    strategy: tf.distribute.Strategy,
) -> Assembly:
    """Loads the encoder, puts in what the method inserts, and compiles the model around it.

    Args:
      config: the run, settled.
      data: the task's examples.
      files: the encoder's files.
      folder: of the run; it is told the encoder's fingerprint.
      strategy: where the model will run.

    Raises:
      OSError, ValueError: as the parts say; or the run was begun with another encoder.
    """
    execution = _plan_execution(config, strategy)
    tf_keras.utils.set_random_seed(config.fit.seed)
    tf.config.experimental.enable_op_determinism()
    policy = "mixed_bfloat16" if config.fit.precision == "bfloat16" else "float32"
    tf_keras.mixed_precision.set_global_policy(policy)
    objective = make_objective(
        TASKS[config.task],
        sample_train(data, config.fit.max_train_examples, config.fit.seed),
        BertPreprocessor(files.vocab_file, files.lower_case, config.model.max_seq_length),
        pooling=config.model.pooling,
        head_dropout=config.model.head_dropout,
    )
    steps = steps_per_epoch(len(objective.train), config.fit.batch_size)
    with strategy.scope():
        encoder = _load_encoder(config, objective, files, execution)
        model = objective.build(encoder, config.method)
        fingerprint = _fingerprint(encoder, files)
        folder.check_encoder(fingerprint)
        if config.model.init_adapter:
            _start_from(config, objective, model, encoder)
        fitted, features = model, None
        if config.keep.feature_cache:
            extractor, fitted = split_classifier(model)
            features = _feature_cache(config, extractor, fingerprint, strategy)
        elif execution.packing:
            fitted = pack_classifier(model, encoder, execution.packing.texts_per_row)
        compile_model(
            fitted,
            objective.loss,
            loss_weights=objective.loss_weights,
            learning_rate=config.fit.learning_rate,
            steps=steps * config.fit.epochs,
            seed=config.fit.seed,
            execution=execution,
            part_of=model,
        )
    built = Assembly(
        config, files, folder, strategy, execution, objective, encoder, model, fitted, features
    )
    # What cannot be saved is told now, not after the training.
    collect(model, encoder, built.metadata(), compare_frozen=False)
    return built


def _plan_execution(config: RunConfig, strategy: tf.distribute.Strategy) -> Execution:
    execution = plan_execution(
        strategy,
        config.fit.batch_size,
        config.fit.gradient_accumulation_steps,
        config.device.steps_per_execution,
        config.model.max_seq_length if config.fit.pack else None,
    )
    if config.keep.feature_cache:
        # Features have no length that could be padded or trimmed.
        return dataclasses.replace(execution, fixed_length=True, trim_parts=False)
    if getattr(config.method.insertion, "keeps_statistics", False):
        # Parts that are in work at once would change them in any order.
        return dataclasses.replace(execution, parts_at_once=1)
    return execution


def _load_encoder(
    config: RunConfig, objective: Objective, files: EncoderFiles, execution: Execution
) -> tf_keras.layers.Layer:
    all_positions = getattr(config.method.insertion, "needs_all_positions", False)
    output_range = None if all_positions else objective.output_range
    encoder = load_encoder(files.checkpoint, output_range=output_range)
    # Each shape is compiled for. On TPUs fused blocks move more bytes than plain ones.
    if execution.packing and not execution.fixed_length:
        fuse(encoder)
    if config.fit.rematerialize:
        rematerialize(encoder)
    return encoder


def _start_from(
    config: RunConfig,
    objective: Objective,
    model: tf_keras.Model,
    encoder: tf_keras.layers.Layer,
) -> None:
    """Loads the adapter to start from, with its head if that is for the same answers."""
    path = config.model.init_adapter
    told, own = read_metadata(path), {**objective.metadata(), "pooling": config.model.pooling}
    same = all(told.get(name) == own[name] for name in ("form", "labels", "pooling"))
    load_adapter(path, model if same else None, encoder)
    head = "with its head" if same else "with a new head, for it is another task's"
    print(f"Starting from the adapter in {path}, {head}")


def _feature_cache(
    config: RunConfig,
    extractor: tf_keras.Model,
    fingerprint: str,
    strategy: tf.distribute.Strategy,
) -> FeatureCache:
    identity = {
        "encoder": fingerprint,  # With its vocabulary and its casing.
        "init_adapter": init_checksum(config),  # It may hold other LayerNorms.
        "max_seq_length": config.model.max_seq_length,
        "pooling": config.model.pooling,
        "precision": config.fit.precision,
    }
    return FeatureCache(config.keep.feature_cache, extractor, identity, strategy)


def _fingerprint(encoder: tf_keras.layers.Layer, files: EncoderFiles) -> str:
    """Returns the SHA-256 of what an encoder was before training, in whatever files it came.

    The digests of its variables are those that `adapt` has made, for they take a while.
    """
    digest = hashlib.sha256(base_of(encoder).fingerprint.encode())
    digest.update(json.dumps(files.config, sort_keys=True).encode())
    digest.update(f"{files.lower_case}".encode())
    digest.update(files.vocab_file.read_bytes())
    return digest.hexdigest()
