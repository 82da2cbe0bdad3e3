"""Which texts share a row of a batch, and where in it their tokens stand.

Short texts padded to one length are mostly padding. Packed, several of them stand in one row,
each attends to itself alone and has positions of its own, so that what is computed of it is
what would be computed of it alone (Krell et al. 2021, "Efficient Sequence Packing without
Cross-contamination", arXiv 2107.02027). A batch goes on being a number of texts; how many rows
they take differs from batch to batch, but rows are added so that there are few different numbers:
each is a shape that XLA compiles for.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from train.fit.padding import trimmed_length


@dataclasses.dataclass(frozen=True)
class Packing:
    """How texts are packed.

    Args:
      texts_per_row: the most texts that stand in a row.
      length: tokens in a row; `None` is as many as the longest text of a split has.
      row_counts: how many different numbers of rows there may be in a split's batches.
    """

    texts_per_row: int
    length: int | None = None
    row_counts: int = 1

    def length_for(self, lengths: np.ndarray) -> int:
        """Returns the tokens in a row for texts of these lengths."""
        return self.length or trimmed_length(int(lengths.max()))


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where each text stands in a batch of rows.

    The first tokens of all texts of a row stand at its start, in front of all others, so that
    what is read at first tokens alone need not be computed of a whole row.

    Args:
      first: `<int32>[batches, texts]`, where each text's first token stands, counted from the
        first row's start.
      rest: `<int32>[batches, texts]`, where its other tokens begin.
      rows: `<int32>[batches]`, how many rows there are, some of them for padding alone.
      length: tokens in a row.
      parts: number of equal parts of a batch that are packed each by itself, into as many rows;
        `first` and `rest` count from the start of a text's own part.
    """

    first: np.ndarray
    rest: np.ndarray
    rows: np.ndarray
    length: int
    parts: int = 1

    def __getitem__(self, batches: slice) -> Layout:
        """Returns the layout of some of the batches."""
        own = {name: getattr(self, name)[batches] for name in ("first", "rest", "rows")}
        return dataclasses.replace(self, **own)


def lay_out(lengths: np.ndarray, order: np.ndarray, packing: Packing, parts: int = 1) -> Layout:
    """Packs the texts of each batch into rows.

    Args:
      lengths: `<int>[examples]`, tokens of each text of a split, at least 1.
      order: `<int32>[batches, texts]`, the texts of each batch.
      packing: how.
      parts: see `Layout`; it divides the number of texts.
    """
    length, (batches, texts) = packing.length_for(lengths), order.shape
    each = lengths[order].reshape(batches * parts, texts // parts)
    first, rest, rows = _first_fit(each, length, packing.texts_per_row)
    rows = round_up(rows.reshape(batches, parts).max(axis=1), packing.row_counts)
    return Layout(first.reshape(order.shape), rest.reshape(order.shape), rows, length, parts)


def _first_fit(
    lengths: np.ndarray, length: int, per_row: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Puts the longest texts first, each into the first row where it fits.

    Args:
      lengths: `<int>[batches, texts]`.
      length: tokens in a row.
      per_row: the most texts in one.

    Returns:
      What `Layout` calls `first`, `rest` and `rows`.
    """
    batches, texts = lengths.shape
    each = np.arange(batches)
    order = np.argsort(-lengths, axis=1, kind="stable")
    room = np.full([batches, texts], length, np.int32)
    held = np.zeros([batches, texts], np.int32)
    row, slot, before = (np.empty([batches, texts], np.int32) for _ in range(3))
    for text in order.T:
        size = lengths[each, text]
        fits = (room >= size[:, np.newaxis]) & (held < per_row)
        chosen = fits.argmax(axis=1)
        row[each, text] = chosen
        slot[each, text] = held[each, chosen]
        before[each, text] = length - room[each, chosen]
        room[each, chosen] -= size
        held[each, chosen] += 1
    start = row * length
    # Those in front of it have all but their first tokens there.
    rest = start + np.take_along_axis(held, row, axis=1) + before - slot
    return start + slot, rest, np.count_nonzero(held, axis=1).astype(np.int32)


def round_up(rows: np.ndarray, counts: int) -> np.ndarray:
    """Raises numbers of rows to a few, such that the least rows are added.

    Args:
      rows: `<int32>[batches]`.
      counts: how many different numbers may be left, at least 1.

    Returns:
      `<int32>[batches]`, each at least what it was.
    """
    values, frequency = np.unique(rows, return_counts=True)
    if len(values) <= counts:
        return rows

    def total(kept: tuple[int, ...]) -> int:
        levels = np.array([*kept, values[-1]])
        return int(frequency @ levels[np.searchsorted(levels, values)])

    # The highest number must stay; the others to be left are tried out. What remains of very many
    # is near enough.
    tried = np.unique(np.quantile(values[:-1], np.linspace(0, 1, 24), method="nearest"))
    left = min(counts - 1, len(tried))
    levels = np.array([*min(itertools.combinations(tried, left), key=total), values[-1]], np.int32)
    return levels[np.searchsorted(levels, rows)]
