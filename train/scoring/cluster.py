"""The same work on a Ray cluster: Ray Data hands parts to workers, of which each loads the model.

Every machine of the cluster must have this package, and the SavedModel, the files and the
output folder under the same paths: a shared file system.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from train import command
from train.ray_extra import connect, resources
from train.scoring.plan import Part
from train.scoring.work import Work
from train.serving.frozen import assume_frozen_weights

_MOST_BLOCKS = 4096


def score(
    address: str,
    work: Work,
    parts: Sequence[Part],
    workers: int | None,
    progress: Callable[[int], object],
) -> None:
    """Scores parts on a cluster.

    Args:
      address: of the cluster, as of `ray.init`.
      work: what is to be done; its `threads` are set here.
      parts: what is to be done.
      workers: how many, at most; by default one a GPU, or one a machine without.
      progress: told the rows that are done since it was told last.

    Raises:
      OSError: there is no cluster, or a worker cannot read or write a file.
      ValueError: a worker fails.
    """
    with connect(address) as ray:
        share = resources(ray, workers)
        with _quiet_data(ray):
            dataset = ray.data.from_items(
                [{"part": index} for index in range(len(parts))],
                override_num_blocks=min(len(parts), _MOST_BLOCKS),
            )
            results = dataset.map_batches(
                _Worker,
                fn_constructor_args=(work, tuple(parts), share.cpus),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=min(share.count, len(parts))),
                num_cpus=share.cpus,
                num_gpus=share.gpus or None,
            )
            try:
                for result in results.iter_rows():
                    if result["error"]:
                        raise (OSError if result["is_of_system"] else ValueError)(result["error"])
                    progress(result["rows"])
            except ray.exceptions.RayError as error:
                raise ValueError(f"the cluster fails: {_cause(error)}") from error


class _Worker:
    """What each of Ray's actors does.

    What is wrong with the input or the disk is told, not raised: Ray would try it again.
    """

    def __init__(self, work: Work, parts: tuple[Part, ...], cpus: float) -> None:
        command.set_environment()
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        assume_frozen_weights(work.saved_model)
        self._parts = parts
        self._scorer = None
        self._work = dataclasses.replace(work, threads=max(1, math.floor(cpus)))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        from train.scoring.scorer import Scorer  # Imports TensorFlow.

        part = self._parts[int(batch["part"][0])]
        error, is_of_system = "", False
        try:
            self._scorer = self._scorer or Scorer(self._work)
            self._scorer.score(part)
        except (OSError, ValueError) as wrong:
            error, is_of_system = str(wrong), isinstance(wrong, OSError)
        return {"rows": [part.rows], "error": [error], "is_of_system": [is_of_system]}


@contextlib.contextmanager
def _quiet_data(ray: Any) -> Iterator[None]:
    """Keeps Ray Data's own bars and words off the terminal; errors are raised anyway."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _cause(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
