"""Keeps other processes out of a folder that one works in."""

from __future__ import annotations

import fcntl
import os
import pathlib
import socket

_LOCK = ".lock"


class FolderLock:
    """A folder's lock, which this process holds until `close`, or its end.

    Args:
      folder: it is made if it is not there.
      flag: the flag that names it, for errors.

    Raises:
      OSError: the folder cannot be made or written, or another process works in it.
    """

    def __init__(self, folder: pathlib.Path, flag: str) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file: int | None = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise OSError(f"--{flag}={folder} cannot be written: {error}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._file, 1000, 0).decode("utf-8", "replace").strip()
            self.close()
            raise OSError(
                f"--{flag}={folder} is in use by {holder or 'another process'}. Wait for it, end "
                "it, or name another folder"
            ) from error
        except OSError:
            return  # A file system without locks.
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def close(self) -> None:
        """Lets other processes work in the folder."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
