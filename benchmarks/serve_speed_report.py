"""Shows what `serve_speed` measured: a table in Markdown, and a plot over the texts' lengths."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import peer
from benchmarks.drawing import figure


def per_text(results: Mapping[str, Any], case: Mapping[str, Any], side: str) -> list[float]:
    """Returns a case's seconds per text of each process of a side: the median of its passes."""
    passes = [pair[side]["cases"][case["name"]]["whole"] for pair in results["pairs"]]
    return [statistics.median(each) / case["texts"] for each in passes]


def overheads(results: Mapping[str, Any], case: Mapping[str, Any], side: str) -> list[float]:
    """Returns what a text takes beside the model, in seconds: the least of each that is timed."""
    found = [pair[side]["cases"][case["name"]] for pair in results["pairs"]]
    return [(min(each["whole"]) - min(each["model"])) / case["texts"] for each in found]


def table(results: Mapping[str, Any]) -> list[str]:
    """Returns the lines of a table in Markdown; ratios are theirs over ours, above 1 is faster."""
    rows = [("", "keras-adapters", "AdapterHub", "ratio")]
    rows.append(("---",) * 4)
    for case in results["cases"]:
        ours, theirs = (per_text(results, case, side) for side in ("ours", "theirs"))
        single = case["batch_size"] == 1
        unit, shown = ("ms", _milliseconds) if single else ("texts/s", _speed)
        ratio = peer.ratios(theirs, ours)
        rows.append((f"{case['name']}, {unit}", shown(ours), shown(theirs), f"{ratio:.2f}"))
    case = results["cases"][0]
    sides = [overheads(results, case, side) for side in ("ours", "theirs")]
    rows.append((f"{case['name']}, tokens and answer, ms", *map(_milliseconds, sides), ""))
    for name, key, factor in (
        ("import, s", "import_seconds", 1),
        ("load, s", "load_seconds", 1),
        ("first answer, s", "first_answer_seconds", 1),
        ("start to first answer, s", "seconds_to_first_answer", 1),
        ("peak memory, MB", "peak_memory_bytes", 1e-6),
    ):
        ours, theirs = (
            [pair[side][key] * factor for pair in results["pairs"]] for side in ("ours", "theirs")
        )
        ratio = peer.ratios(theirs, ours)
        medians = (f"{statistics.median(each):.4g}" for each in (ours, theirs))
        rows.append((name, *medians, f"{ratio:.2f}"))
    return [f"| {' | '.join(row)} |" for row in rows]


def _milliseconds(seconds: Sequence[float]) -> str:
    return f"{1000 * statistics.median(seconds):.2f}"


def _speed(seconds: Sequence[float]) -> str:
    return f"{1 / statistics.median(seconds):.1f}"


def plot(results: Mapping[str, Any], path: str) -> None:
    """Draws texts a second over their length, of both sides, to a file .svg or .png."""
    cases = sorted((case for case in results["cases"] if "length" in case), key=_length)
    with figure(path, 1, 1, (5, 3.6)) as (_, axes):
        axis = axes[0, 0]
        for side, label in (("ours", "keras-adapters"), ("theirs", "AdapterHub")):
            speeds = [
                peer.spread([1 / each for each in per_text(results, case, side)]) for case in cases
            ]
            middles = [each.median for each in speeds]
            below = [each.median - each.low for each in speeds]
            above = [each.high - each.median for each in speeds]
            x = list(map(_length, cases))
            axis.errorbar(
                x, middles, [below, above], fmt="o-", label=label, capsize=2, markersize=4
            )
        axis.set(xlabel="tokens of each text", ylabel="texts/s", xscale="log", yscale="log")
        axis.set_xticks(x, [str(length) for length in x])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend()


def _length(case: Mapping[str, Any]) -> int:
    return case["length"]
