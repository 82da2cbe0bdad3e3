"""What a program that was compiled for a TPU moves between its chip and its memory (HBM).

The compiler's own count, `bytes accessed`, adds up what operations read and write, be it in
HBM or in the chip's own memory, which is much faster and where much of it is. What is counted
here is HBM alone, of the compiled program's text.
"""

from __future__ import annotations

import collections
import math
import re
from collections.abc import Iterable, Iterator

_BYTES = {
    **{"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2},
    **{"s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8},
}
# Its name, the shape of its result, its kind, and what follows.
INSTRUCTION = re.compile(r"\s+(?:ROOT )?%(\S+) = (.+?) ([a-z][\w-]*)\((.*)")
_ARRAY = re.compile(rf"\b({'|'.join(_BYTES)})\[([\d,]*)\](?:\{{([^}}]*)\}})?")
# They move nothing, or what the operation that started it moves.
_SILENT = ("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all")


def by_source(hlo: str) -> list[tuple[str, int]]:
    """Adds up what operations move that stand for the same in the model.

    Args:
      hlo: a compiled program as text.

    Returns:
      Pairs, the largest first: a name in TensorFlow's graph, without the numbers that tell the
      blocks apart, and the bytes that are read from and written to HBM. What the compiler puts in
      has none, such as copies into the chip's memory: their name is what they copy, as far as it
      is known.
    """
    sums: collections.Counter[str] = collections.Counter()
    for source, size in traffic(hlo):
        sums[source] += size
    return sums.most_common()


def traffic(hlo: str) -> Iterator[tuple[str, int]]:
    """Yields what each operation of a compiled program stands for and moves, if it does.

    A fusion is taken to read each of its operands once and whole, and a branch or the body of
    a loop to run not at all: there is nothing large in those of the steps.

    Args:
      hlo: the program as text.
    """
    sizes: dict[str, int] = {}
    for line in hlo[hlo.index("\nENTRY ") :].splitlines():
        found = INSTRUCTION.match(line)
        if not found:
            continue
        name, result, kind, rest = found.groups()
        sizes[name] = sum(_sizes(result))
        if kind in _SILENT or kind.endswith("-done"):
            continue
        if kind.endswith("-start"):
            size = _moved(result)
        else:
            operands = re.findall(r"%([\w.-]+)", rest.partition("), ")[0])
            size = sizes[name] + sum(sizes.get(operand, 0) for operand in operands)
        if size:
            yield _source(kind, result, line), size


def _moved(result: str) -> int:
    """Returns what a copy moves, of its result: target and source in either order, and more."""
    both = list(arrays(result))[:2]
    return min(size for size, _ in both) * sum(in_hbm for _, in_hbm in both)


def _sizes(shape: str) -> Iterable[int]:
    return (size for size, in_hbm in arrays(shape) if in_hbm)


def arrays(shape: str) -> Iterator[tuple[int, bool]]:
    """Yields the bytes of each array of a shape, and whether it is in HBM."""
    for dtype, dimensions, layout in _ARRAY.findall(shape):
        elements = math.prod(map(int, filter(None, dimensions.split(","))))
        # S(1) and others are memories of the chip.
        yield _BYTES[dtype] * elements, "S(" not in layout


def _source(kind: str, result: str, line: str) -> str:
    found = re.search(r'op_name="([^"]*)"', line)
    if found:
        return re.sub(r"\d+", "*", found[1])
    dtype, dimensions, _ = next(iter(_ARRAY.findall(result)), ("", "", ""))
    return f"{kind} {dtype}[{dimensions}]"
