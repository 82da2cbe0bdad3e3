"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def atomic_folder(target: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a new temporary folder that becomes `target` when the block ends well.

    A folder that stands at `target` is replaced. When the block raises, the temporary
    folder is removed and what stood at `target` is untouched.

    Args:
      target: the folder to make; its parents are made too.

    Raises:
      FileExistsError: a file, not a folder, stands at `target`.
    """
    target = pathlib.Path(target)
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{target} is a file; a folder was to be written there")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as scratch:
        folder = pathlib.Path(scratch, "new")
        folder.mkdir()
        yield folder
        if target.exists():
            os.replace(target, pathlib.Path(scratch, "old"))
        os.replace(folder, target)


def write_text(target: str | os.PathLike, text: str) -> None:
    """Writes a UTF-8 file under a temporary name, then renames it to `target`."""
    write_bytes(target, text.encode("utf-8"))


def write_bytes(target: str | os.PathLike, content: bytes) -> None:
    """Writes a file under a temporary name, then renames it to `target`."""
    target = pathlib.Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        scratch.write_bytes(content)
        os.replace(scratch, target)
    finally:
        scratch.unlink(missing_ok=True)
