"""Which objective serves a task's form."""

from __future__ import annotations

from keras_adapters.preprocessor import BertPreprocessor
from train.objectives.objective import Objective
from train.objectives.spans.objective import SpanObjective
from train.objectives.text.objective import TextObjective
from train.tasks.data import TaskData
from train.tasks.squad import SquadData
from train.tasks.task import Task


def make_objective(
    task: Task,
    data: TaskData | SquadData,
    preprocess: BertPreprocessor,
    *,
    pooling: str | None,
    head_dropout: float | None = None,
) -> Objective:
    """Makes a task's objective.

    Args:
      task: the row of the task table.
      data: its examples.
      preprocess: makes the encoder's inputs.
      pooling: what the head reads of an encoder, `pooler` or `mean`; `None` for a task whose
        head reads every position.
      head_dropout: probability of dropping a feature that the head reads, in training; by
        default that of the task's form.

    Raises:
      ValueError: the pooling is not one that the task's form allows, or the preprocessor's
        sequences are too short for it.
    """
    if head_dropout is None:
        head_dropout = task.form.head_dropout
    if task.form.pools:
        return TextObjective(task, data, preprocess, pooling=pooling, head_dropout=head_dropout)
    if pooling is not None:
        raise ValueError(
            "--pooling goes with a task whose head reads one vector per text; here it reads every "
            f"position. Received: {pooling!r}"
        )
    return SpanObjective(task.form, data, preprocess, head_dropout=head_dropout)
