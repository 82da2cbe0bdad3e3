"""The table and the plot of what `benchmarks.train_speed` measures."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.drawing import figure
from benchmarks.peer import Spread, ratios, spread

_HEAD = (
    "texts", "encoder", "precision", "texts/s", "AdapterHub", "ratio", "useful tokens/s",
    "AdapterHub", "useful share", "AdapterHub", "memory, GB", "AdapterHub", "process, s",
    "AdapterHub", "to first step, s", "AdapterHub", "of matmul bound",
)  # fmt: skip
_COLOURS = {"ours": "tab:blue", "theirs": "tab:orange"}
_LABELS = {"ours": "keras-adapters", "theirs": "AdapterHub"}

Case = Mapping[str, Any]


def table(cases: Sequence[Case]) -> list[str]:
    """Returns the lines of a table in Markdown: medians, and of ratios the least and greatest."""
    rows = [_HEAD, ["---"] * len(_HEAD), *(_row(case) for case in cases)]
    return [f"| {' | '.join(row)} |" for row in rows]


def _row(case: Case) -> list[str]:
    texts = f"about {case['length']} tokens" if case["length"] else case["case"]
    return [
        texts,
        case["encoder"],
        case["precision"],
        *_both(case, "examples_per_second", 1, ".1f"),
        f"{speed_ratio(case):.2f}",
        *_both(case, "examples_per_second", case["mean_tokens"], ".0f"),
        *_both(case, "useful_token_share", 1, ".1%"),
        *_both(case, "peak_memory_bytes", 1e-9, ".2f"),
        *_both(case, "seconds", 1, ".1f"),
        *_both(case, "seconds_to_first_step", 1, ".1f"),
        f"{statistics.median(bound_shares(case)):.0%}",
    ]


def speed_ratio(case: Case) -> Spread:
    """Returns our texts a second over theirs, of each pair."""
    return ratios(*(values(case, side, "examples_per_second") for side in ("ours", "theirs")))


def bound_shares(case: Case) -> list[float]:
    """Returns which part of a lone product's speed our steps' products reach, of each pair."""
    speeds = values(case, "ours", "examples_per_second")
    products = case["product_flops_per_second"]
    return [
        case["flops_per_text"] * speed / product
        for speed, product in zip(speeds, products, strict=True)
    ]


def values(case: Case, side: str, name: str) -> list[float]:
    """Returns one measure of one side, of each pair that has it."""
    found = [pair[side][name] for pair in case["pairs"]]
    return [value for value in found if value is not None]


def _both(case: Case, name: str, factor: float, form: str) -> list[str]:
    found = [values(case, side, name) for side in ("ours", "theirs")]
    return [format(factor * statistics.median(each), form) if each else "-" for each in found]


def plot(results: Mapping[str, Any], path: str) -> None:
    """Draws speed and useful tokens over the texts' length: a column for encoder and precision.

    Args:
      results: what `benchmarks.train_speed` writes as JSON.
      path: the file to write, .svg or .png.

    Raises:
      ValueError: no lengths were swept over.
    """
    panels: dict[tuple[str, str], list[Case]] = {}
    for case in sorted(results["cases"], key=lambda case: case["length"] or 0):
        if case["length"]:
            panels.setdefault((case["encoder"], case["precision"]), []).append(case)
    if not panels:
        raise ValueError("--plot is of --lengths, and none were measured")
    size = (1 + 3.4 * len(panels), 5.6)
    with figure(path, 2, len(panels), size, sharex=True) as (drawn, axes):
        for column, ((encoder, precision), cases) in enumerate(panels.items()):
            speeds, shares = axes[:, column]
            speeds.set_title(f"{encoder}, {precision}")
            for side in _LABELS:
                _draw(speeds, cases, side, "examples_per_second")
                _draw(shares, cases, side, "useful_token_share", 100)
            speeds.set_ylim(bottom=0)
            shares.set_ylim(0, 102)
            shares.set_xlabel("mean tokens of a text")
        axes[0][0].set_ylabel("useful tokens/s")
        axes[1][0].set_ylabel("useful tokens, % of those computed")
        axes[0][0].legend()
        machine, settings = results["machine"], results["settings"]
        drawn.suptitle(
            f"Adapters of size {settings['adapter_size']}, {settings['batch_size']} texts a step\n"
            f"{machine['cores_used']} cores of {machine['processor']}",
            fontsize=9,
        )


def _draw(axis: Any, cases: Sequence[Case], side: str, name: str, factor: float | None = None):
    """Draws medians, least and greatest values; without a factor, times each text's tokens."""
    x, middles, below, above = [], [], [], []
    for case in cases:
        found = values(case, side, name)
        if found:
            by = factor or case["mean_tokens"]
            each = spread([by * value for value in found])
            x.append(case["mean_tokens"])
            middles.append(each.median)
            below.append(each.median - each.low)
            above.append(each.high - each.median)
    axis.errorbar(
        x, middles, [below, above], fmt="o-", color=_COLOURS[side], label=_LABELS[side],
        capsize=2, markersize=4,
    )  # fmt: skip
    axis.grid(alpha=0.3)
