"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping

try:
    import fcntl
except ImportError:  # Not on Windows; there, leftovers stay.
    fcntl = None

_SUFFIX = ".scratch"
_LOCK, _NEW, _OLD = "lock", "new", "old"


@contextlib.contextmanager
def atomic_folder(target: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a new temporary folder that becomes `target` when the block ends well.

    A folder that stands at `target` is replaced. When the block raises, the temporary
    folder is removed and what stood at `target` is untouched. What a process that was
    killed has left is removed the next time that the same target is written.

    Args:
      target: the folder to make; its parents are made too.

    Raises:
      FileExistsError: a file, not a folder, stands at `target`.
    """
    target = pathlib.Path(target)
    with _scratch(target) as scratch:
        if target.exists() and not target.is_dir():
            raise FileExistsError(f"{target} is a file; a folder was to be written there")
        folder = scratch / _NEW
        folder.mkdir()
        yield folder
        if not target.exists():
            os.replace(folder, target)
            return
        try:
            os.replace(target, scratch / _OLD)
            os.replace(folder, target)
        except BaseException:
            if not target.exists() and (scratch / _OLD).exists():
                os.replace(scratch / _OLD, target)
            raise


def write_text(target: str | os.PathLike, text: str) -> None:
    """Writes a UTF-8 file under a temporary name, then renames it to `target`."""
    write_bytes(target, text.encode("utf-8"))


def write_bytes(target: str | os.PathLike, content: bytes) -> None:
    """Writes a file under a temporary name, then renames it to `target`.

    Raises:
      OSError: it cannot be written; what stood at `target` is untouched.
    """
    write_files({target: content})


def write_files(contents: Mapping[str | os.PathLike, bytes]) -> None:
    """Writes files under temporary names and, when all are on the disk, renames them in order.

    Args:
      contents: what to write, by the files' paths.

    Raises:
      OSError: one cannot be written; what stood at its path and at the later ones' is untouched,
        and that of all where it was not the last step, a rename, that failed.
    """
    with contextlib.ExitStack() as stack:
        written: list[tuple[pathlib.Path, pathlib.Path]] = []
        for path, content in contents.items():
            target = pathlib.Path(path)
            with _naming(target):
                if target.is_dir():
                    raise IsADirectoryError(errno.EISDIR, "Is a directory")
                new = stack.enter_context(_scratch(target)) / _NEW
                with new.open("wb") as stream:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
            written.append((new, target))
        for new, target in written:
            with _naming(target):
                os.replace(new, target)


@contextlib.contextmanager
def _naming(target: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"{target} cannot be written: {reason}") from error


@contextlib.contextmanager
def _scratch(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a folder beside `target` that others can tell to be a living process's."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target)
    while True:
        folder = tempfile.mkdtemp(_SUFFIX, f".{target.name}.", target.parent)
        try:
            with _locked(pathlib.Path(folder, _LOCK)) as own:
                if own:
                    yield pathlib.Path(folder)
                    return
        finally:
            _remove(pathlib.Path(folder))


def _remove(folder: pathlib.Path) -> None:
    """Removes a scratch folder, the lock last: one without a lock is an empty one."""
    for path in (folder / _NEW, folder / _OLD):
        shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            path.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _remove_leftovers(target: pathlib.Path) -> None:
    """Removes the scratch folders of processes that are no more."""
    for folder in list(target.parent.iterdir()):
        if not (folder.name.startswith(f".{target.name}.") and folder.name.endswith(_SUFFIX)):
            continue
        if not (folder / _LOCK).exists():
            # Its process was killed, or is just making the lock, and then takes another folder.
            with contextlib.suppress(OSError):
                folder.rmdir()
            continue
        with _locked(folder / _LOCK) as own:
            if not own:
                continue
            # Killed between two renames: the new folder was whole, or the old would stand.
            if (folder / _OLD).exists() and (folder / _NEW).exists() and not target.exists():
                os.replace(folder / _NEW, target)
            _remove(folder)


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[bool]:
    """Locks a file until the block, or the process, ends; yields whether it could.

    The one who makes a scratch folder goes on without where files cannot be locked: the
    others cannot lock it either.
    """
    made = not path.exists()
    try:
        file = path.open("ab")
    except OSError:
        if made and path.parent.exists():
            raise
        yield False  # Somebody else has just removed it.
        return
    with file:
        try:
            if fcntl is None:
                raise OSError("no locks here")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:
            yield made
            return
        yield path.exists()
