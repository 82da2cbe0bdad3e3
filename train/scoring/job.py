"""The folder that scores go to: whose it is, its plan, and which parts of it are done.

A part is done when its file in `predictions` is there, which appears whole or not at all.
So whenever the work is stopped, what is there holds each row once, and what is missing is
known.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras_adapters.atomic import write_text
from train.folder_lock import FolderLock
from train.scoring.files import InputFile
from train.scoring.plan import Part, cut

MALFORMED = "malformed.jsonl"
_MANIFEST, _PARTS = "manifest.json", "parts.jsonl"
_PREDICTIONS, _MALFORMED_PARTS, _SCRATCH = "predictions", "malformed", "scratch"


class Job:
    """The files of one work of scoring, locked against other processes until `close`.

    Args:
      folder: where; made if it is not there.
      settings: what makes the work what it is, values of JSON; `suffix` among them, the end
        of the files' names.
      files: what is scored.

    Raises:
      ValueError: the folder holds a work with other settings, which are listed, or something
        else.
      OSError: it cannot be read or written, or another process works in it.

    Attributes:
      path: the folder.
      finished: the counts of a work that has finished: `rows` and `malformed`.
    """

    def __init__(
        self, folder: str | os.PathLike, settings: Mapping[str, Any], files: Sequence[InputFile]
    ) -> None:
        self.path = pathlib.Path(folder)
        self._suffix = settings["suffix"]
        self._files = files
        self._settings = json.loads(
            json.dumps({**settings, "input": [file.identity() for file in files]})
        )
        self._lock = FolderLock(self.path, "output")
        try:
            self._begun = self._compare()
            self.finished = self._check_finished()
            shutil.rmtree(self.path / _SCRATCH, ignore_errors=True)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets other processes work in the folder."""
        self._lock.close()

    def parts(self, progress: Callable[[int], object] = lambda count: None) -> list[Part]:
        """Returns all parts: as the work was begun with, or cut now.

        Args:
          progress: told the bytes that have been read since it was told last.

        Raises:
          OSError: a file cannot be read, or the folder cannot be written.
          ValueError: a file is damaged.
        """
        if self._begun:
            with (self.path / _PARTS).open(encoding="utf-8") as lines:
                return [Part(*json.loads(line)) for line in lines]
        for name in (_PREDICTIONS, _MALFORMED_PARTS):
            (self.path / name).mkdir(exist_ok=True)
        parts, size = [], self._settings["rows_per_part"]
        with _whole_file(self.path, _PARTS) as file:
            for part in cut(self._files, size, progress):
                file.write(json.dumps(dataclasses.astuple(part)).encode() + b"\n")
                parts.append(part)
        self._write_manifest(parts=len(parts))
        self._begun = self._read_manifest()
        return parts

    def todo(self, parts: Sequence[Part]) -> list[Part]:
        """Returns the parts that are not done."""
        there = set(os.listdir(self.path / _PREDICTIONS))
        return [part for part in parts if _name(part.number, self._suffix) not in there]

    def finish(self, parts: Sequence[Part]) -> dict[str, int]:
        """Puts the malformed rows together and marks the work as finished.

        Returns:
          The counts of all `rows` and of the `malformed` ones.

        Raises:
          OSError: the folder cannot be written, or a part is not done: a machine that scored
            it writes to another folder of that name.
        """
        missing = self.todo(parts)
        if missing:
            raise OSError(
                f"{self.path / _PREDICTIONS} lacks {_name(missing[0].number, self._suffix)}, "
                "which was scored. Name an --output that is the same folder on all machines"
            )
        malformed = 0
        with _whole_file(self.path, MALFORMED) as file:
            for part in parts:
                with (self.path / _MALFORMED_PARTS / _name(part.number, "jsonl")).open("rb") as of:
                    for line in of:
                        file.write(line)
                        malformed += 1
        self.finished = {"rows": sum(part.rows for part in parts), "malformed": malformed}
        self._write_manifest(parts=len(parts), finished=self.finished)
        self._remove_scratch()
        return self.finished

    def _remove_scratch(self) -> None:
        for name in (_MALFORMED_PARTS, _SCRATCH):
            shutil.rmtree(self.path / name, ignore_errors=True)

    def _write_manifest(self, **facts: Any) -> None:
        content = {"settings": self._settings, **facts}
        write_text(self.path / _MANIFEST, json.dumps(content, indent=2) + "\n")

    def _read_manifest(self) -> dict[str, Any] | None:
        path = self.path / _MANIFEST
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(content["settings"], dict) and isinstance(content["parts"], int):
                return content
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise ValueError(f"{path} is damaged, or not one of train.predict. Name another --output")

    def _compare(self) -> dict[str, Any] | None:
        begun = self._read_manifest()
        if begun is None:
            ours = (_PARTS, _SCRATCH, _PREDICTIONS, _MALFORMED_PARTS)
            others = [
                entry.name
                for entry in os.scandir(self.path)
                if not entry.name.startswith(".")
                and (entry.name not in ours or (entry.is_dir() and any(os.scandir(entry))))
            ]
            if others:
                raise ValueError(
                    f"--output={self.path} holds {min(others)}, which is not of "
                    "train.predict. Name a new folder, or an empty one"
                )
            return None
        there, now = begun["settings"], self._settings
        differing = [
            f"  {name}: {_short(there.get(name))} there, {_short(now[name])} now"
            for name in now
            if there.get(name) != now[name]
        ]
        if differing and not any(os.scandir(self.path / _PREDICTIONS)):
            os.remove(self.path / _MANIFEST)  # There is nothing to lose.
            return None
        if differing:
            raise ValueError(
                f"--output={self.path} holds a work with other settings:\n"
                + "\n".join(differing)
                + "\nName another folder, or remove that one"
            )
        return begun

    def _check_finished(self) -> dict[str, int] | None:
        finished = self._begun and self._begun.get("finished")
        if not finished:
            return None
        missing = self.todo(self.parts())
        if missing or not (self.path / MALFORMED).is_file():
            name = _name(missing[0].number, self._suffix) if missing else MALFORMED
            raise OSError(
                f"--output={self.path} holds a work that has finished, but lacks {name}. Name "
                "another folder, or remove that one"
            )
        self._remove_scratch()
        return finished


def commit(
    folder: str | os.PathLike, part: Part, suffix: str, predictions: bytes, malformed: bytes
) -> None:
    """Writes what came of a part; any process may, also two at a time.

    Args:
      folder: the job's.
      part: the part.
      suffix: the end of the name of the file of predictions.
      predictions: the content of the part's file of predictions.
      malformed: that of its malformed rows, JSON lines.

    Raises:
      OSError: they cannot be written, or the folder is not one of a job.
    """
    folder = pathlib.Path(folder)
    with _whole_file(folder, f"{_MALFORMED_PARTS}/{_name(part.number, 'jsonl')}") as file:
        file.write(malformed)
    with _whole_file(folder, f"{_PREDICTIONS}/{_name(part.number, suffix)}") as file:
        file.write(predictions)


def digest(folder: str | os.PathLike) -> str:
    """Returns a checksum of the names and contents of a folder's files."""
    found = hashlib.sha256()
    folder = pathlib.Path(folder)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(2**20):
                found.update(block)
    return found.hexdigest()


@contextlib.contextmanager
def _whole_file(folder: pathlib.Path, name: str) -> Any:
    """Yields a file that appears under its name when the block ends well, whole and on disk."""
    try:
        scratch = folder / _SCRATCH
        scratch.mkdir(exist_ok=True)
        number, path = tempfile.mkstemp(dir=scratch)
        try:
            with os.fdopen(number, "wb") as file:
                yield file
                file.flush()
                os.fsync(number)
            os.chmod(path, 0o666 & ~_umask())
            os.replace(path, folder / name)
        except BaseException:
            with contextlib.suppress(OSError):
                os.remove(path)
            raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"{folder / name} cannot be written: {reason}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _name(number: int, suffix: str) -> str:
    return f"part-{number:08d}.{suffix}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
