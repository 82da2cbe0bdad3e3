"""Rows of Parquet files, from any row on, in constant memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from train.scoring.records import Record

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as missing:
    raise ValueError(
        "Parquet needs the package pyarrow: pip install 'keras-adapters[ray]'"
    ) from missing

_AT_A_TIME = 1024


def columns(path: str, texts: Sequence[str]) -> set[str]:
    """Returns the names of a file's columns.

    Args:
      path: the file.
      texts: columns of these names must hold texts, bytes, whole numbers or booleans.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is no Parquet file, a name is repeated, or a column cannot be text.
    """
    with _open(path) as file:
        schema = file.schema_arrow
    if len(set(schema.names)) != len(schema.names):
        raise ValueError(f"{path}: a column name is repeated in {schema.names}")
    for name in texts:
        kind = schema.field(name).type if name in schema.names else pa.string()
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not any(test(kind) for test in _TEXTS):
            raise ValueError(f"{path}: the column {name!r} holds {kind}, which is no text")
    return set(schema.names)


def count(path: str) -> int:
    """Returns the number of a file's rows; raises as `columns` does."""
    with _open(path) as file:
        return file.metadata.num_rows


def read(path: str, first: int, count: int, names: Sequence[str]) -> Iterator[Record]:
    """Yields rows of a file.

    Args:
      path: the file.
      first: the first row, from 0.
      count: of the rows.
      names: the columns to read; those that the file lacks are left out.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is damaged.
    """
    with _open(path) as file:
        names = [name for name in names if name in file.schema_arrow.names]
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        group, skipped = 0, first
        while group < len(sizes) and skipped >= sizes[group]:
            skipped -= sizes[group]
            group += 1
        groups = list(range(group, len(sizes)))
        yield from itertools.islice(_rows(file, path, groups, names, skipped), count)


def _rows(
    file: pq.ParquetFile, path: str, groups: list[int], names: list[str], skipped: int
) -> Iterator[Record]:
    try:
        for batch in file.iter_batches(_AT_A_TIME, row_groups=groups, columns=names):
            if skipped >= batch.num_rows:
                skipped -= batch.num_rows
                continue
            columns = [_as_bytes(column).to_pylist() for column in batch.slice(skipped).columns]
            for values in zip(*columns, strict=True):
                yield Record(None, dict(zip(batch.schema.names, values, strict=True)))
            skipped = 0
    except pa.ArrowException as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _as_bytes(column: pa.Array) -> pa.Array:
    """Returns strings as bytes: what is not UTF-8 is one row's matter."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type):
        return column.cast(pa.binary())
    return column.cast(pa.large_binary()) if pa.types.is_large_string(column.type) else column


def _open(path: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except pa.ArrowException as error:
        raise ValueError(f"{path} is not Parquet, or is damaged: {error}") from error


_TEXTS = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_integer,
    pa.types.is_boolean,
    pa.types.is_null,
)
