"""The figures of the benchmarks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def figure(
    path: str, rows: int, columns: int, size: tuple[float, float], **shared: bool
) -> Iterator[tuple[Any, Any]]:
    """Writes what is drawn while this lasts.

    Args:
      path: the file to write, .svg or .png.
      rows: of panels.
      columns: of panels.
      size: the figure's width and height in inches.
      **shared: `sharex`, `sharey`.

    Yields:
      The figure, and its axes, `[rows, columns]`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "font.size": 9}):
        drawn = Figure(figsize=size)
        yield drawn, drawn.subplots(rows, columns, squeeze=False, **shared)
        drawn.tight_layout()
        drawn.savefig(path, dpi=150, metadata={"Date": None} if path.endswith(".svg") else None)
