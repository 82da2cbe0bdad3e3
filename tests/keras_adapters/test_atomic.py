import errno
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

from keras_adapters.atomic import atomic_folder, write_bytes, write_files, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "deep" / "target"
    for text in ("old", "new"):
        with atomic_folder(target) as folder:
            (folder / text).write_text(text)
    assert names(target) == ["new"]
    assert names(tmp_path / "deep") == ["target"]


def test_a_failure_leaves_what_was_there(tmp_path):
    with atomic_folder(tmp_path / "target") as folder:
        (folder / "good").write_text("good")

    def fail():
        with atomic_folder(tmp_path / "target") as folder:
            (folder / "half").write_text("half")
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail()
    assert names(tmp_path / "target") == ["good"]
    assert names(tmp_path) == ["target"]


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "target").write_text("a file")
    with pytest.raises(FileExistsError, match="is a file"), atomic_folder(tmp_path / "target"):
        pass
    assert (tmp_path / "target").read_text() == "a file"


def test_write_text_replaces_and_leaves_no_scratch(tmp_path):
    for text in ("old", "new é"):
        write_text(tmp_path / "deep" / "file.txt", text)
    assert (tmp_path / "deep" / "file.txt").read_text(encoding="utf-8") == "new é"
    assert names(tmp_path / "deep") == ["file.txt"]


def test_write_bytes_that_fails_leaves_what_was_there(tmp_path):
    write_bytes(tmp_path / "file", b"\r\n\x00")
    with pytest.raises(TypeError):
        write_bytes(tmp_path / "file", None)
    assert (tmp_path / "file").read_bytes() == b"\r\n\x00"
    assert names(tmp_path) == ["file"]


# Writes to a target, in one of the two ways, and waits in the midst of it.
PROGRAM = """
import pathlib, sys, time
from keras_adapters import atomic

def wait(*arguments):
    print("ready", flush=True)
    time.sleep(3600)

way, target = sys.argv[1:]
if way == "file":
    atomic.os.replace = wait
    atomic.write_text(target, "half")
with atomic.atomic_folder(target) as folder:
    (folder / "half").write_text("half")
    if way == "folder":
        wait()
    replace = atomic.os.replace
    atomic.os.replace = lambda *names: replace(*names) if names[1].name == "old" else wait()
"""


@pytest.fixture
def start():
    started = []

    def start(way, target):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, way, str(target)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def write(way, target, text):
    if way == "file":
        write_text(target, text)
    else:
        with atomic_folder(target) as folder:
            (folder / text).write_text(text)


def scratches(folder):
    return [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("way", ["file", "folder"])
def test_what_a_dead_writer_left_goes_and_a_living_ones_stays(way, start, tmp_path):
    target = tmp_path / "target[1]"
    write(way, target, "old")
    dead, alive = start(way, target), start(way, target)
    (other,) = [start(way, tmp_path / "target")]
    assert len(scratches(tmp_path)) == 3
    for process in (dead, other):
        process.kill()
        process.wait()
    write(way, target, "new")
    assert len(scratches(tmp_path)) == 2  # Of the living, and of another target.
    alive.kill()
    alive.wait()
    write(way, target, "newer")
    write(way, tmp_path / "target", "new")
    assert names(tmp_path) == ["target", "target[1]"]
    assert target.read_text() == "newer" if way == "file" else names(target) == ["newer"]


def test_what_a_writer_left_that_died_before_its_lock_goes(tmp_path):
    (tmp_path / ".target.x.scratch").mkdir()
    write("file", tmp_path / "target", "new")
    assert names(tmp_path) == ["target"]


def test_a_writer_whose_folder_goes_before_its_lock_is_made_takes_another(tmp_path, monkeypatch):
    mkdtemp = tempfile.mkdtemp

    def make(*arguments):
        monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
        folder = mkdtemp(*arguments)
        write("file", tmp_path / "target", "another's")
        assert not os.path.exists(folder)
        return folder

    monkeypatch.setattr(tempfile, "mkdtemp", make)
    write("file", tmp_path / "target", "new")
    assert (tmp_path / "target").read_text() == "new"
    assert names(tmp_path) == ["target"]


@pytest.mark.parametrize("way", ["file", "folder"])
def test_the_lock_goes_last(way, tmp_path, monkeypatch):
    rmtree, seen = shutil.rmtree, []

    def remove(path, **kwargs):
        if str(path).endswith(".scratch"):
            seen.append(names(pathlib.Path(path)))
        rmtree(path, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", remove)
    for text in ("old", "new"):
        write(way, tmp_path / "target", text)
    assert seen == [["lock"]] * 2


def test_a_writer_that_died_between_two_renames_loses_nothing(start, tmp_path):
    target = tmp_path / "target"
    write("folder", target, "old")
    process = start("between", target)
    assert not target.exists()
    process.kill()
    process.wait()
    with pytest.raises(RuntimeError, match="midway"), atomic_folder(target):
        raise RuntimeError("midway")
    assert names(target) == ["half"]  # It was written whole.
    assert names(tmp_path) == ["target"]


def test_a_rename_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    write("folder", tmp_path / "target", "old")
    replace = os.replace

    def fail(source, destination):
        if source.name == "new":
            raise OSError(errno.EIO, "Input/output error")
        replace(source, destination)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="Input/output"):
        write("folder", tmp_path / "target", "new")
    assert names(tmp_path / "target") == ["old"]
    assert names(tmp_path) == ["target"]


def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path, monkeypatch):
    write_text(tmp_path / "target", "old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="target cannot be written: No space") as error:
        write_text(tmp_path / "target", "new")
    assert error.value.errno == errno.ENOSPC
    assert (tmp_path / "target").read_text() == "old"
    assert names(tmp_path) == ["target"]


def test_of_several_files_all_are_written_or_none(tmp_path):
    write_files({tmp_path / "one": b"1", tmp_path / "deep" / "two": b"2"})
    (tmp_path / "a folder").mkdir()
    with pytest.raises(OSError, match="a folder cannot be written: Is a directory"):
        write_files({tmp_path / "one": b"3", tmp_path / "a folder": b"4"})
    assert (tmp_path / "one").read_bytes() == b"1"
    assert (tmp_path / "deep" / "two").read_bytes() == b"2"
    assert names(tmp_path) == ["a folder", "deep", "one"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(umask, tmp_path):
    former = os.umask(umask)
    try:
        write("file", tmp_path / "file", "text")
        write("folder", tmp_path / "folder", "text")
    finally:
        os.umask(former)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("file", "folder")]
    assert modes == [0o666 & ~umask, 0o777 & ~umask]


def test_without_locks_files_are_written_and_leftovers_stay(tmp_path, monkeypatch):
    def no_locks(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    left = tmp_path / ".target.x.scratch"
    left.mkdir()
    (left / "lock").touch()
    monkeypatch.setattr("keras_adapters.atomic.fcntl.flock", no_locks)
    write_text(tmp_path / "target", "text")
    assert names(tmp_path) == [left.name, "target"]
