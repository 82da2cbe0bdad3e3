"""What a trained model scores when the adapters of some layers are taken out again."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_adapters.model_garden.hosts.table import host_of
from keras_adapters.saving import load_adapter
from keras_adapters.variables import encoder_variables
from train.assembly import Assembly, assemble
from train.config import RunConfig
from train.encoders.find import find_encoder
from train.fit.predictor import Predictor
from train.objectives.objective import Objective
from train.run_folder import RunFolder
from train.study.runs import Run
from train.tasks.data import TaskData, sample_train
from train.tasks.squad import SquadData
from train.tasks.table import TASKS

_BATCH = 64
# Of all that an adapter holds the last: where it is zero, the adapter changes nothing.
_UP_PROJECTION = re.compile(r"layer_(\d+)/.+/adapter/up/\w+")


def ablate(
    run: Run, split: str = "dev", progress: Callable[[int, int], object] = lambda done, of: None
) -> dict[str, Any]:
    """Scores a finished run without the adapters of each span of its encoder's layers.

    Nothing is trained again: LayerNorms and head stay as they were trained, beside adapters
    that are not there any more. The run's files are read alone.

    Args:
      run: a finished run with adapters.
      split: what to score on.
      progress: told how many evaluations are done, and of how many.

    Returns:
      `split`, `metric`, `layers`, the encoder's number of layers; `base_score`, with all
      adapters; `scores`, a list of `[i, j, score]` for all `0 <= i <= j < layers`, without the
      adapters of the layers i to j; `all_removed`, the last of these with i = 0; and
      `majority_score`, of a model that always answers with the class, or the mean value, of
      the training examples; `None` for spans of texts.

    Raises:
      ValueError: the run's data or encoder have changed, or layers share their adapters.
      OSError: a file is not there.

    Reference:
      Houlsby et al. 2019, section 3.6 and figure 6, left and centre.
    """
    config = _config(run)
    data = TASKS[config.task].read(config.files)
    if data.fingerprint() != run.config.get("data"):
        raise ValueError(f"the examples of {run.task} are not those that {run.path} was trained on")
    built = _load(config, data)
    layers = len(host_of(built.encoder).blocks(built.encoder))
    parts = _up_projections(built, run.path)
    predict = Predictor(built.fitted, built.strategy, _BATCH, built.execution)

    def score() -> float:
        return built.objective.evaluate(predict, [split])[split][run.metric]

    spans = [(first, last) for first in range(layers) for last in range(first, layers)]
    removed = {span: tuple(sorted(set(range(span[0], span[1] + 1)) & set(parts))) for span in spans}
    distinct = list(dict.fromkeys([(), *removed.values()]))
    found = {}
    for done, indices in enumerate(distinct):
        progress(done, len(distinct))
        with _zeros([variable for index in indices for variable in parts[index]]):
            found[indices] = score()
    progress(len(distinct), len(distinct))
    scores = [[first, last, found[removed[first, last]]] for first, last in spans]
    return {
        "split": split,
        "metric": run.metric,
        "layers": layers,
        "base_score": found[()],
        "scores": scores,
        "all_removed": found[removed[0, layers - 1]],
        "majority_score": _majority_score(config, built.objective, data, split, run.metric),
    }


def _config(run: Run) -> RunConfig:
    config = RunConfig.from_json_dict(run.config)
    return dataclasses.replace(
        config,
        # All of it is in the run's own adapter.
        model=dataclasses.replace(config.model, init_adapter=None),
        keep=dataclasses.replace(config.keep, output_dir=str(run.path)),
    )


def _load(config: RunConfig, data: TaskData | SquadData) -> Assembly:
    """Puts a finished run's model together, with what it trained."""
    files = find_encoder(config.model.encoder)
    # One that does not write: what stands in the run's folder stays as it is.
    folder = RunFolder(config, data.fingerprint(), files.checksum, writes=False)
    built = assemble(config, data, files, folder, tf.distribute.get_strategy())
    load_adapter(folder.adapter, built.model, built.encoder)
    return built


def _up_projections(built: Assembly, path: pathlib.Path) -> Mapping[int, Sequence[tf.Variable]]:
    """Returns the variables of the adapters' last projections by the index of their layer."""
    blocks = host_of(built.encoder).blocks(built.encoder)
    if len({id(block) for block in blocks}) < len(blocks):
        raise ValueError(
            f"{path} cannot be ablated: its encoder's layers share their adapters, so that those "
            "of some layers alone cannot be taken out"
        )
    found = collections.defaultdict(list)
    for name, variable in encoder_variables(built.encoder).items():
        if match := _UP_PROJECTION.fullmatch(name):
            found[int(match[1])].append(variable)
    return found


@contextlib.contextmanager
def _zeros(variables: Sequence[tf.Variable]) -> Iterator[None]:
    """Sets variables to zero within a block; what was traced goes on with them."""
    values = [variable.numpy() for variable in variables]
    for variable in variables:
        variable.assign(tf.zeros_like(variable))
    try:
        yield
    finally:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)


def _majority_score(
    config: RunConfig, objective: Objective, data: TaskData | SquadData, split: str, metric: str
) -> float | None:
    if not isinstance(data, TaskData):
        return None
    labels = sample_train(data, config.fit.max_train_examples, config.fit.seed).train.labels
    if data.label_names:
        answer = np.eye(len(data.label_names))[np.bincount(labels).argmax()]
    else:
        answer = np.mean(labels, keepdims=True)
    scores = objective.evaluate(lambda source: np.tile(answer, (len(source.lengths), 1)), [split])
    return scores[split][metric]
