"""The figure of what is lost when the adapters of a span of layers are removed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from train.study.drawing import Figure, finish, new_axes
from train.study.runs import ABLATION, Run

_DARK = 0.55  # Share of the colours' range below which text is white.


def read_ablation(run: Run) -> dict[str, Any] | None:
    """Reads what `train.ablate` wrote in a run's folder.

    Returns:
      `None` if there is nothing. Otherwise the split, the metric, the number of `layers`, the
      scores of the whole and of a model that names the largest class, and `scores`: first and
      last layer removed, and the score then.

    Raises:
      ValueError: the file is not that.
      OSError: it cannot be read.
    """
    path = run.path / ABLATION
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged, so it is not drawn") from error
    if not _is_ablation(found):
        raise ValueError(f"{path} does not hold what train.ablate writes, so it is not drawn")
    return found


def heatmap(run: Run, task: str, found: Mapping[str, Any], name: str) -> Figure:
    """Draws the change in points for each span of layers.

    Args:
      run: whose adapters were removed.
      task: its task's name.
      found: what `read_ablation` returned.
      name: of the figure's files.
    """
    import matplotlib as mpl
    import numpy as np

    layers, base = found["layers"], found["base_score"]
    change = np.full((layers, layers), np.nan)
    for first, last, score in found["scores"]:
        change[first, last] = 100 * (score - base)
    majority = found.get("majority_score")
    least = min(np.nanmin(change), 100 * (majority - base) if majority is not None else 0)
    most = max(0.0, float(np.nanmax(change)))
    least -= 0.04 * (most - least) or 1.0  # The line of the majority is not at the bar's end.
    with mpl.rc_context({"font.size": 10, "svg.hashsalt": "keras-adapters"}):
        side = max(4.0, 0.48 * layers + 1.5)
        canvas, axes = new_axes(side + 1.2, side)
        image = axes.imshow(change, cmap="cividis", vmin=least, vmax=most)
        for first, last in zip(*np.nonzero(~np.isnan(change)), strict=True):
            value = change[first, last]
            dark = (value - least) / (most - least) < _DARK
            colour = "white" if dark else "black"
            digits = 1 if abs(value) < 9.95 else 0
            text = f"{value:+.{digits}f}".replace("-", "−")
            axes.text(last, first, text, ha="center", va="center", fontsize=8, color=colour)
        axes.set_xticks(range(layers))
        axes.set_yticks(range(layers))
        axes.set_xlabel("last layer without adapters")
        axes.set_ylabel("first layer without adapters")
        axes.spines[["top", "right"]].set_visible(False)
        bar = canvas.colorbar(image, ax=axes, shrink=0.8)
        bar.set_label(f"change in {_words(found['metric'])}, points")
        if majority is not None:
            bar.ax.axhline(100 * (majority - base), color="#D55E00", linewidth=2)
        title = f"Adapters removed: {task}, {run.label}, seed {run.seed}"
        return finish(canvas, name, title, _caption(found), _alt(title, change))


def _is_ablation(found: Any) -> bool:
    try:
        layers, rows = found["layers"], found["scores"]
        majority = found.get("majority_score")
        numbers = [found["base_score"], *([] if majority is None else [majority])]
        spans = {(first, last) for first, last, _ in rows}
        numbers += [score for _, _, score in rows]
        names = isinstance(found["split"], str) and isinstance(found["metric"], str)
        every = {(i, j) for i in range(layers) for j in range(i, layers)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
    good = all(
        isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in numbers
    )
    return names and good and bool(every) and spans == every


def _caption(found: Mapping[str, Any]) -> str:
    metric, split = _words(found["metric"]), found["split"]
    text = (
        f"Figure 6, left, of the paper: the change in {metric} on {split}, in points, when the "
        "trained adapters from one layer to another are removed and nothing is trained again. "
        "Layer 0 is the lowest; the diagonal is of single layers, the top right corner of all. "
        f"With all adapters it is {100 * found['base_score']:.2f}."
    )
    if found.get("majority_score") is not None:
        text += (
            f" A model that always answers with the largest class has "
            f"{100 * found['majority_score']:.2f}: the line in the colour bar."
        )
    return text


def _alt(title: str, change: Any) -> str:
    layers = len(change)
    single = ", ".join(f"{change[i, i]:.2f}" for i in range(layers))
    return (
        f"{title}. Change in points when one layer's adapters are removed, from the lowest: "
        f"{single}. When all are: {change[0, -1]:.2f}."
    )


def _words(metric: str) -> str:
    return metric.replace("_", " ")
