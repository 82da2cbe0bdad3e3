"""How a training step is computed on the devices that there are; its result is the same."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from train.fit.packing import Packing

_TPU_STEPS_PER_EXECUTION = 32
# Parts of a sorted batch are padded to their own lengths, which costs a CPU nothing else; and
# while one part's gradient is computed, the next part keeps the other cores busy.
_CPU_PARTS = 4
_CPU_PARTS_AT_ONCE = 2
_ROW_COUNTS = 4
_TEXTS_PER_ROW = 16
_TOKENS_PER_TEXT = 8  # Where more stand in a row.


@dataclasses.dataclass(frozen=True)
class Execution:
    """How steps are computed.

    Args:
      parts: number of equal parts that each replica computes its batch in; at least 1.
      parts_at_once: how many of them may be in work at a time; 1 takes the least memory.
      trim_parts: leave out each part's padding.
      steps_per_execution: steps that run without returning to Python. Keras shortens the
        last of an epoch to the steps that are left.
      fixed_length: pad to the full sequence length, see `input_pipeline.batches`.
      packing: how texts share rows, if they do.
      jit_compile: compile each step whole with XLA, once for each shape of a batch. A TPU's
        steps are so in any case.
    """

    parts: int = 1
    parts_at_once: int = 1
    trim_parts: bool = False
    steps_per_execution: int = 1
    fixed_length: bool = False
    packing: Packing | None = None
    jit_compile: bool = False


def plan_execution(
    strategy: tf.distribute.Strategy,
    batch_size: int,
    gradient_accumulation_steps: int | None = None,
    steps_per_execution: int | None = None,
    packed_length: int | None = None,
) -> Execution:
    """Settles what was left open, by the devices of a strategy.

    Args:
      strategy: where the model trains.
      batch_size: examples per step, over all replicas together.
      gradient_accumulation_steps: parts that each replica computes its batch in, one after
        the other; by default 4 on a CPU if they are equal and texts are not packed, of which
        two at a time, else 1.
      steps_per_execution: steps without returning to Python; by default 32 on a TPU, else 1.
      packed_length: the most tokens of a text, if texts are to be packed.

    Returns:
      The plan. TPUs get sequences of one length, which they need. On one GPU steps of packed
      texts, which have few shapes, are compiled whole.

    Raises:
      ValueError: the batch cannot be cut into equal parts. The text names the flags.
    """
    replicas, parts = strategy.num_replicas_in_sync, gradient_accumulation_steps or 1
    if batch_size % (replicas * parts):
        raise ValueError(
            f"--batch_size={batch_size} must be a multiple of {replicas * parts}: "
            f"{replicas} replicas, each with --gradient_accumulation_steps={parts}"
        )
    on_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
    has_gpus = bool(tf.config.list_physical_devices("GPU"))
    steps = steps_per_execution or (_TPU_STEPS_PER_EXECUTION if on_tpu else 1)
    if packed_length is not None:
        packing = plan_packing(packed_length, one_shape=on_tpu)
        # The variables of several replicas are on other devices, which XLA does not allow.
        jit_compile = has_gpus and not on_tpu and replicas == 1
        return Execution(
            parts=parts,
            steps_per_execution=steps,
            fixed_length=on_tpu,
            packing=packing,
            jit_compile=jit_compile,
        )
    parts_at_once = 1
    on_cpu = not on_tpu and not has_gpus
    if on_cpu and not gradient_accumulation_steps and batch_size // replicas % _CPU_PARTS == 0:
        parts, parts_at_once = _CPU_PARTS, _CPU_PARTS_AT_ONCE
    return Execution(
        parts=parts,
        parts_at_once=parts_at_once,
        trim_parts=not on_tpu,
        steps_per_execution=steps,
        fixed_length=on_tpu,
    )


def plan_packing(length: int, one_shape: bool) -> Packing:
    """Returns how texts of up to a number of tokens share rows.

    Args:
      length: the most tokens of a text.
      one_shape: whether all batches must have one shape.
    """
    return Packing(
        texts_per_row=max(_TEXTS_PER_ROW, length // _TOKENS_PER_TEXT),
        length=length if one_shape else None,
        # Each number of rows is compiled for, and a TPU's loop of steps takes one alone.
        row_counts=1 if one_shape else _ROW_COUNTS,
    )
