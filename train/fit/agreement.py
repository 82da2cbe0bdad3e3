"""Holds the workers of one training to the same run: each reads flags and files of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from train.fit.workers import read_workers


def check_agreement(strategy: tf.distribute.Strategy, facts: Mapping[str, Any]) -> None:
    """Raises ValueError, in all workers, unless each of them calls this with the same facts.

    Workers that differ would train a mixture without a word, or wait for each other for ever.

    Args:
      strategy: where to train; what is not several workers agrees with itself.
      facts: what must be the same, in JSON's types; the names are the same everywhere, in
        one order, and say in the error what differs.

    Raises:
      ValueError: another worker names another value; the text says which, and of what.
      tf.errors.OpError: another worker has stopped.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return
    own = np.array([[_digest(value) for value in facts.values()]], np.int64)

    @tf.function
    def gather() -> tf.Tensor:
        return strategy.gather(strategy.run(lambda: tf.constant(own)), axis=0)

    digests = gather().numpy()
    local = len(digests) // len(read_workers().addresses)
    differing = [
        f"worker {worker}: {', '.join(names)}"
        for worker, same in enumerate(digests[::local] == digests[0])
        if (names := [name for name, equal in zip(facts, same, strict=True) if not equal])
    ]
    if differing:
        raise ValueError(
            "the workers that TF_CONFIG lists must have the same flags, data, encoder and "
            f"--output_dir. These differ from the first's: {'; '.join(differing)}. Start "
            "all of them again with the same of these"
        )


def _digest(value: Any) -> int:
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:8], "little", signed=True)
