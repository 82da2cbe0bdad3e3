"""Counts the floating-point operations of the matrix products in a training step of adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def step_flops(
    config: Mapping[str, Any],
    lengths: Sequence[int],
    adapter_size: int,
    norms_train: bool,
    first_only: bool,
) -> int:
    """Counts what a step of Houlsby adapters in a BERT must multiply, at the least.

    Forward, the gradients of what goes in, and those of the adapters' kernels, without the
    head (less than a thousandth), and without padding; a multiplication and an addition are
    two operations. Below the first weight that trains there are no gradients.

    Args:
      config: a BERT's settings in Hugging Face's words.
      lengths: tokens of each text of the step.
      adapter_size: width of the two adapters of each block.
      norms_train: whether the LayerNorms train, those of the embeddings too.
      first_only: whether the head reads the first position alone, so that the last block need
        not compute the others.
    """
    blocks, hidden = config["num_hidden_layers"], config["hidden_size"]
    inner = config["intermediate_size"]
    tokens, pairs, texts = sum(lengths), sum(length**2 for length in lengths), len(lengths)
    whole = blocks - first_only
    # In each: operations of a forward pass.
    attention = 4 * hidden * (whole * pairs + first_only * tokens)  # Scores, and what they weigh.
    keys_values = 4 * hidden**2 * blocks * tokens
    others = 4 * hidden**2 + 4 * hidden * inner  # Queries, attention's output, feed-forward.
    adapters = 8 * hidden * adapter_size
    positions = whole * tokens + first_only * texts
    forward = attention + keys_values + (others + adapters) * positions
    # Each of attention's products has two factors that need a gradient.
    inputs = forward + attention
    if not norms_train:  # Then the first adapter is the first that trains.
        rows, columns = (texts, tokens) if first_only and blocks == 1 else (tokens, pairs)
        inputs -= 8 * hidden * columns + 4 * hidden**2 * (tokens + rows)
        inputs -= 2 * hidden * adapter_size * rows  # What goes into the first adapter.
    return forward + inputs + adapters * positions
