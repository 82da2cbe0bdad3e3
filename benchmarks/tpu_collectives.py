"""What the devices of a program that was compiled for several TPUs say to each other."""

from __future__ import annotations

import collections
import re

from benchmarks.tpu_traffic import INSTRUCTION, arrays

_KINDS = ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter")
_COMPUTATION = re.compile(r"(?:ENTRY )?%(\S+) \(.*\{$")
# How the compiler writes a reduce-scatter: a computation of this name, of an all-reduce and a cut.
_SCATTER = "all-reduce-scatter"


def collectives(hlo: str) -> list[tuple[str, int, int]]:
    """Counts the operations that every device has a part in.

    Args:
      hlo: a compiled program as text.

    Returns:
      Of each kind: its name, how many there are, and the bytes of what they reduce, gather or
      send, whole, on one device. How many of them cross a link is for the algorithm to say: of a
      ring of n devices, 2(n - 1)/n of an all-reduce's, (n - 1)/n of the others'.
    """
    counts: collections.Counter[str] = collections.Counter()
    sums: collections.Counter[str] = collections.Counter()
    sizes: dict[str, int] = {}
    seen, computation = set(), ""
    for line in hlo.splitlines():
        header = _COMPUTATION.match(line)
        if header:
            computation, in_entry = header[1], line.startswith("ENTRY")
            continue
        found = INSTRUCTION.match(line)
        if not found:
            continue
        name, result, kind, rest = found.groups()
        results = [size for size, _ in arrays(result)]
        sizes[name] = sum(results)
        kind = kind.removesuffix("-start")
        if kind not in _KINDS:
            continue
        # One that goes on beside other operations stands in the computations of all of them.
        same = re.search(r"channel_id=(\d+)", rest), re.search(r'op_name="([^"]*)"', rest)
        key = tuple(part and part[1] for part in same)
        if not in_entry and key in seen:
            continue
        seen.add(key)
        if computation.startswith(_SCATTER):
            kind = "reduce-scatter"
        operands = re.findall(r"%([\w.-]+)", rest.partition("), ")[0])
        whole = sum(results) if kind == "all-reduce" else max(results, default=0)
        counts[kind] += 1
        sums[kind] += max(whole, sum(sizes.get(operand, 0) for operand in operands))
    return [(kind, counts[kind], sums[kind]) for kind in _KINDS if counts[kind]]
