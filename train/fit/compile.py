"""What a built model needs before it can train: its optimiser, its dropout and its step."""

from __future__ import annotations

from typing import Any

import tf_keras

from train.fit.dropout import DropoutSeeds
from train.fit.execution import Execution
from train.fit.frozen_copies import FrozenCopies
from train.fit.optimization import make_optimizer
from train.fit.step import AccumulatingModel


def compile_model(
    model: AccumulatingModel,
    loss: Any,
    *,
    loss_weights: Any = None,
    learning_rate: float,
    steps: int,
    seed: int,
    execution: Execution = Execution(),  # noqa: B008  It is frozen.
    part_of: tf_keras.Model | None = None,
) -> None:
    """Compiles a model, in place; call it in the strategy's scope.

    Args:
      model: what trains of it must be settled, and its weights loaded. Its dropout layers are
        changed.
      loss: for Keras's `compile`.
      loss_weights: for Keras's `compile`.
      learning_rate: the peak, see `make_optimizer`.
      steps: number of steps of the whole training.
      seed: of the dropout masks.
      execution: how a step is computed.
      part_of: a model whose layers these are, among others, and whose training draws the same
        masks.
    """
    model.compile(
        optimizer=make_optimizer(learning_rate, steps),
        loss=loss,
        loss_weights=loss_weights,
        steps_per_execution=execution.steps_per_execution,
        jit_compile=execution.jit_compile,
    )
    model.parts = execution.parts
    model.parts_at_once = execution.parts_at_once
    model.trim_parts = execution.trim_parts
    model.dropout_seeds = DropoutSeeds(part_of or model, seed, model.optimizer.iterations)
    model.frozen_copies = FrozenCopies(model)
