"""What a process may tell oneDNN that serves a SavedModel and trains nothing."""

from __future__ import annotations

import contextlib
import os

from train.serving.signatures import read_form

_VARIABLE = "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"


def assume_frozen_weights(folder: str | os.PathLike) -> None:
    """Lets the kernels of a SavedModel in bfloat16 be packed once, for they stay as they are.

    On CPUs oneDNN packs them anew for each product, unless the environment says that weights
    are frozen. Those of this project's models are, of others nobody knows; in float32 some
    lengths gain by it and others lose. It holds for the whole process: call it in one that
    computes nothing else, before it computes. What the environment says already counts.

    Args:
      folder: the SavedModel's; nothing is done if it holds none.
    """
    with contextlib.suppress(ValueError, OSError):
        if read_form(folder).in_bfloat16:
            os.environ.setdefault(_VARIABLE, "1")
