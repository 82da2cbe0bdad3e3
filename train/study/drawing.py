"""How figures are drawn: one look for each method, legible without colours too."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_DPI = 150
_SIZE = 6.0, 4.0  # Inches.
_DECADES = 300  # Ends of a scale further apart than this have labels at powers of ten alone.
# Colour, marker and line of each method: of the palette of Okabe and Ito (2008), which people
# with any kind of colour vision can tell apart.
_LOOKS = {
    "adapters": ("#0072B2", "o", "-"),
    "adapters 64": ("#56B4E9", "P", (0, (5, 1))),
    "full": ("#D55E00", "s", "--"),
    "top_layers": ("#009E73", "^", "-."),
    "layer_norm": ("#CC79A7", "D", ":"),
    "feature_based": ("#E69F00", "v", (0, (3, 1, 1, 1, 1, 1))),
    "no_bert": ("#000000", "X", (0, (1, 1))),
}
_FURTHER = [
    (colour, marker, line)
    for marker, line in (("*", "-"), ("<", "--"), ("h", ":"), (">", "-."))
    for colour in ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")
]
_STYLE = {
    "font.size": 10,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "svg.hashsalt": "keras-adapters",
}


@dataclasses.dataclass(frozen=True)
class Figure:
    """A drawn figure.

    Args:
      name: of its files.
      title: its heading.
      caption: what it shows, in sentences.
      alt: its numbers, for those who do not see it.
      png, svg: the files' contents.
    """

    name: str
    title: str
    caption: str
    alt: str
    png: bytes = dataclasses.field(repr=False)
    svg: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Series:
    """Points that a line joins.

    Args:
      label: what the legend calls them.
      role: a method's name, which decides the look; other names get one of those that are left.
      x, y: the points.
      low, high: where the spread around each begins and ends; `None` where there is none.
      marks: a word for each point, such as a size; or none.
      band: whether the spread is a band and not bars.
      dots: further points, unjoined.
    """

    label: str
    role: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    marks: Sequence[str] = ()
    band: bool = False
    dots: Sequence[tuple[float, float]] = ()

    def in_words(self) -> str:
        """Returns the points as text."""
        names = self.marks or [f"{x:,.10g}" for x in self.x]
        return f"{self.label}: " + ", ".join(
            f"{name}: {y:.2f}" for name, y in zip(names, self.y, strict=True)
        )


def check_matplotlib() -> None:
    """Raises ValueError if matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError("figures need matplotlib: pip install 'keras-adapters[report]'")


def chart(
    name: str,
    title: str,
    caption: str,
    series: Sequence[Series],
    labels: tuple[str, str],
    level: tuple[float, str] | None = None,
) -> Figure:
    """Draws lines over a logarithmic axis.

    Args:
      name: of the figure's files.
      title: its heading.
      caption: what it shows, in sentences.
      series: what is drawn.
      labels: of the two axes, with their units.
      level: a height to mark, and its label.
    """
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        canvas, axes = new_axes(*_SIZE)
        further = iter(_FURTHER * len(series))
        if level is not None:
            axes.axhline(level[0], color="0.35", linewidth=1, linestyle=(0, (2, 2)), zorder=1)
            axes.annotate(
                level[1], (0, level[0]), (4, 2), xycoords=("axes fraction", "data"),
                textcoords="offset points", va="bottom", fontsize=8, color="0.35",
            )  # fmt: skip
        for each in series:
            _draw(axes, each, _LOOKS.get(each.role) or next(further))
        _scale(axes)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.margins(y=0.12)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, handlelength=3.2)
        alt = f"{title}. {labels[1]} against {labels[0]}. " + ". ".join(
            each.in_words() for each in series
        )
        return finish(canvas, name, title, caption, alt)


def new_axes(width: float, height: float) -> tuple[Canvas, Axes]:
    """Returns an empty figure, of a size in inches, and its axes; no window opens."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(width, height))
    FigureCanvasAgg(canvas)
    return canvas, canvas.add_subplot()


def finish(canvas: Canvas, name: str, title: str, caption: str, alt: str) -> Figure:
    """Returns what was drawn as files; the same numbers give the same bytes."""
    files = []
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        file = io.BytesIO()
        canvas.savefig(file, format=kind, dpi=_DPI, bbox_inches="tight", metadata=metadata)
        files.append(file.getvalue())
    return Figure(name, title, caption, alt, *files)


def _draw(axes: Axes, series: Series, look: tuple[str, str, Any]) -> None:
    colour, marker, line = look
    if series.dots:
        axes.plot(*zip(*series.dots, strict=True), marker, color=colour, alpha=0.35, markersize=3)
    axes.plot(
        series.x, series.y, color=colour, marker=marker, linestyle=line, markersize=6,
        label=series.label, zorder=3,
    )  # fmt: skip
    if series.band:
        axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.15, linewidth=0)
    elif series.low:
        for x, low, high in zip(series.x, series.low, series.high, strict=True):
            if low is not None:
                axes.plot([x, x], [low, high], color=colour, linewidth=1.2, marker="_")
    for point, mark in enumerate(series.marks):
        _mark(axes, series, point, mark, colour)


def _mark(axes: Axes, series: Series, point: int, mark: str, colour: str) -> None:
    """Writes a word beside a point, clear of its spread and dots: above, of top layers below."""
    x, y = series.x[point], series.y[point]
    above = series.role != "top_layers"
    ends = [y, *(end[point] for end in (series.low, series.high) if end)]
    ends += [height for at, height in series.dots if 0.99 < at / x < 1.01]
    end = (max if above else min)(value for value in ends if value is not None)
    axes.annotate(
        mark, (x, end), (0, 5 if above else -5), textcoords="offset points", fontsize=8,
        ha="center", va="bottom" if above else "top", color=colour,
    )  # fmt: skip


def _scale(axes: Axes) -> None:
    """Makes the horizontal axis logarithmic, with a few labels that do not overlap."""
    from matplotlib import ticker

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    steps = (1.0,) if high / low > _DECADES else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=steps, numticks=30))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: short(x)))
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())


def short(number: float) -> str:
    """Returns a number in few characters: `20k`, `1.5M`, `1e-3`."""
    for least, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= least:
            return f"{number / least:g}{letter}"
    return f"{number:g}".replace("e-0", "e-")
