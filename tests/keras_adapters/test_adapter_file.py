"""The file without any Keras: what is written, read, refused, and found beside other writers."""

import errno
import os
import pathlib
import random
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from keras_adapters import adapter_bytes
from keras_adapters.adapter_file import (
    FILE,
    AdapterFile,
    AdapterFileError,
    read_adapter,
    read_metadata,
    write_adapter,
)
from keras_adapters.fingerprint import Base
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method

BASE = Base({"family": "bert", "layers": 2}, {"pooler/bias": "0" * 64})


def adapter(value=1.0, **changes):
    tensors = {"head/logits/kernel": np.full((4, 3), value, "float32"), "norm": np.ones(2, "f4")}
    settings = {"tensors": tensors, "metadata": {"value": value}, **changes}
    return AdapterFile(Method(AdapterConfig(4)), BASE, **settings)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read(tmp_path):
    tensors = {
        "layer_0/attention/adapter/down/kernel": np.arange(6, dtype="float32").reshape(2, 3),
        "head/step": np.array(7, "int64"),
        "head/mask": np.array([True, False]),
        "head/none": np.zeros((0, 3), "float32"),
        "head/wide": np.array([1e300]),
    }
    metadata = {"labels": ["a", "é"], "metrics": {"dev": {"f1": 0.5}}, "none": None, "n": 10**400}
    written = adapter(tensors=tensors, metadata=metadata, versions={"x": "1"})
    write_adapter(tmp_path / "adapter", written)
    for path in (tmp_path / "adapter", tmp_path / "adapter" / FILE, str(tmp_path / "adapter")):
        found = read_adapter(path)
        assert (found.method, found.base) == (written.method, written.base)
        assert (found.metadata, found.versions) == (metadata, {"x": "1"})
        assert sorted(found.tensors) == sorted(tensors)
        for name, value in tensors.items():
            assert found.tensors[name].dtype == value.dtype
            np.testing.assert_array_equal(found.tensors[name], value)
    assert sorted(found.head_tensors) == ["mask", "none", "step", "wide"]
    assert list(found.encoder_tensors) == ["layer_0/attention/adapter/down/kernel"]


@pytest.mark.parametrize(("dtype", "bits"), [("float16", 11), ("bfloat16", 8)])
def test_half_of_the_bytes_loses_what_its_bits_say(dtype, bits, tmp_path):
    values = np.random.default_rng(0).normal(size=(100, 100)).astype("float32")
    content = {"head/kernel": values, "head/step": np.array(2**40 + 1)}
    write_adapter(tmp_path / "half", adapter(tensors=content), dtype)
    write_adapter(tmp_path / "whole", adapter(tensors=content))
    found = read_adapter(tmp_path / "half").tensors
    assert found["head/kernel"].dtype == np.float32
    np.testing.assert_allclose(found["head/kernel"], values, rtol=2.0**-bits, atol=1e-7)
    assert found["head/step"] == 2**40 + 1
    sizes = [(tmp_path / name / FILE).stat().st_size for name in ("half", "whole")]
    assert sizes[1] - sizes[0] > 2 * values.size - 50
    with pytest.raises(ValueError, match=r"beyond the range of float16|`dtype` must be one of"):
        write_adapter(
            tmp_path / "other",
            adapter(tensors={"head/kernel": np.array([1e38], "f4")}),
            "float16" if dtype == "float16" else "int8",
        )
    assert names(tmp_path) == ["half", "whole"]


def nested(depth):
    value = {}
    for _ in range(depth):
        value = {"a": value}
    return value


ENDLESS = {}
ENDLESS |= {"one": ENDLESS, "two": [ENDLESS]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metadata": {"a": {1: 2}}}, "`metadata.a` must have texts as keys"),
        ({"metadata": {"a": [0, float("nan")]}}, r"`metadata.a\[1\]` must be a finite number"),
        ({"metadata": {"a": "\ud800"}}, "UTF-8"),
        ({"metadata": {"a": object()}}, "`metadata.a` must be what JSON can hold"),
        ({"metadata": ["a"]}, "`metadata` must be a mapping"),
        ({"metadata": nested(200)}, "nested more than 100 deep"),
        ({"metadata": ENDLESS}, "nested more than 100 deep"),
        ({"metadata": {"a": 10**5000}}, "digits|integer string conversion"),
        ({"tensors": {}}, "at least one tensor"),
        ({"tensors": {"": np.ones(1)}}, "must have a name"),
        ({"tensors": {"a": np.array([np.inf], "f4")}}, "NaN or infinite"),
        ({"tensors": {"a": np.array(["x"])}}, "no file holds"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_adapter(tmp_path / "adapter", adapter(**changes))
    assert names(tmp_path) == []


def test_a_bad_file_has_an_error_of_its_own(tmp_path):
    write_adapter(tmp_path, adapter())
    content = bytearray((tmp_path / FILE).read_bytes())
    content[-5] ^= 1
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(AdapterFileError, match=r"adapter\.safetensors.*checksum"):
        read_metadata(tmp_path)
    assert issubclass(AdapterFileError, ValueError)


def test_a_file_of_terabytes_is_not_read(tmp_path):
    write_adapter(tmp_path, adapter())
    os.truncate(tmp_path / FILE, 2**42)  # Sparse: it takes no disk.
    with pytest.raises(AdapterFileError, match=r"it has 4,398,046,511,104 bytes"):
        read_adapter(tmp_path)


def test_other_files_are_not_adapters(tmp_path):
    for path in (tmp_path, tmp_path / "none", tmp_path / "x.safetensors", tmp_path / "a\0b"):
        with pytest.raises(FileNotFoundError, match="is missing"):
            read_adapter(path)
    safetensors.numpy.save_file({"a": np.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(AdapterFileError, match=r"x\.safetensors: it is not an adapter of keras_"):
        read_adapter(tmp_path / "x.safetensors")


def test_a_failure_in_the_midst_of_reading_names_the_file(tmp_path, monkeypatch):
    write_adapter(tmp_path, adapter())

    def fail(file):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(adapter_bytes, "read", fail)
    with pytest.raises(OSError, match=r"\.safetensors cannot be read: Input/output") as error:
        read_adapter(tmp_path)
    assert error.value.errno == errno.EIO


def test_a_full_disk_leaves_the_adapter_and_its_card(tmp_path, monkeypatch):
    write_adapter(tmp_path / "adapter", adapter(1.0))
    before = {path.name: path.read_bytes() for path in (tmp_path / "adapter").iterdir()}
    synced, sync = [], os.fsync

    def fill(descriptor):
        synced.append(descriptor)
        if len(synced) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(OSError, match=r"adapter\.safetensors cannot be written: No space"):
        write_adapter(tmp_path / "adapter", adapter(2.0))
    after = {path.name: path.read_bytes() for path in (tmp_path / "adapter").iterdir()}
    assert after == before


@pytest.mark.parametrize("name", [FILE, "README.md"])
def test_what_stands_in_the_way_is_named_and_nothing_else_changes(name, tmp_path):
    write_adapter(tmp_path / "adapter", adapter(1.0))
    (tmp_path / "adapter" / name).unlink()
    (tmp_path / "adapter" / name / "inside").mkdir(parents=True)
    (kept,) = (path for path in (tmp_path / "adapter").iterdir() if path.is_file())
    before = kept.read_bytes()
    with pytest.raises(IsADirectoryError, match=name):
        write_adapter(tmp_path / "adapter", adapter(2.0))
    assert kept.read_bytes() == before
    assert names(tmp_path / "adapter") == sorted([FILE, "README.md"])


def test_a_path_that_is_a_file_or_lies_in_one(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "nowhere").symlink_to(tmp_path / "none")
    for path in ("file", "file/adapter", "nowhere"):
        with pytest.raises(OSError, match=str(tmp_path / path)):
            write_adapter(tmp_path / path, adapter())
    assert (tmp_path / "file").read_text() == "mine"
    assert names(tmp_path) == ["file", "nowhere"]


def test_links_to_folders_and_files_are_followed(tmp_path):
    write_adapter(tmp_path / "real", adapter(1.0))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_adapter(tmp_path / "link", adapter(2.0))
    assert read_metadata(tmp_path / "real") == {"value": 2.0}
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / FILE).symlink_to(tmp_path / "real" / FILE)
    assert read_metadata(tmp_path / "snapshot") == {"value": 2.0}
    # What a link shows is another's: it is replaced here alone.
    write_adapter(tmp_path / "snapshot", adapter(3.0))
    assert read_metadata(tmp_path / "real") == {"value": 2.0}
    assert read_metadata(tmp_path / "snapshot") == {"value": 3.0}


# Writes to a folder without end: two adapters in turn, a line for each.
PROGRAM = """
import itertools, sys
import numpy as np
from keras_adapters.adapter_file import AdapterFile, write_adapter
from keras_adapters.fingerprint import Base
from keras_adapters.methods.method import Method

base = Base({"family": "bert"}, {"pooler/bias": "0" * 64})
for value in itertools.cycle([1.0, 2.0]):
    tensors = {"head/kernel": np.full(40_000, value, "float32")}
    method = Method(None, "nothing")
    write_adapter(sys.argv[1], AdapterFile(method, base, tensors, {"value": value}))
    print("written", flush=True)
"""


@pytest.fixture
def start():
    started = []

    def start(folder):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def read_whole(folder):
    found = read_adapter(folder)
    (value,) = set(found.tensors["head/kernel"].tolist())
    assert found.metadata == {"value": value}
    return value


def write_version_1(folder):
    folder.mkdir()
    tensors = {"head/kernel": np.full(40_000, 3.0, "float32")}
    safetensors.numpy.save_file(tensors, folder / FILE)
    (folder / "adapter.json").write_text(
        '{"format": "keras_adapters", "version": 1, "adapter_config": null, '
        '"base_fingerprint": "0", "metadata": {"value": 3.0}}'
    )


def test_a_reader_beside_writers_that_are_killed_finds_one_whole_adapter(start, tmp_path):
    folder, seed = tmp_path / "adapter", random.Random(0)
    write_version_1(folder)
    found = {read_whole(folder)}
    processes = [start(folder) for _ in range(3)]
    while not found >= {1.0, 2.0, 3.0}:
        found.add(read_whole(folder))
    for process in processes:
        for _ in range(seed.randrange(50)):
            process.stdout.readline()
            read_whole(folder)
        process.kill()
        process.wait()
        for _ in range(50):
            read_whole(folder)
    # What they were writing goes with the next one.
    write_adapter(folder, adapter(4.0))
    assert names(folder) == ["README.md", FILE]
    assert names(tmp_path) == ["adapter"]


def test_a_reader_that_began_with_version_1_finds_what_replaced_it(tmp_path, monkeypatch):
    write_version_1(tmp_path / "adapter")
    read_text = pathlib.Path.read_text

    def replaced_meanwhile(path, **kwargs):
        if path.name == "adapter.json":
            write_adapter(tmp_path / "adapter", adapter(2.0))
        return read_text(path, **kwargs)

    monkeypatch.setattr(pathlib.Path, "read_text", replaced_meanwhile)
    assert read_metadata(tmp_path / "adapter") == {"value": 2.0}
    assert names(tmp_path / "adapter") == ["README.md", FILE]


def test_equal_adapters_are_equal_bytes():
    """Whatever order a library's tables have; each process has another."""
    program = (
        "import numpy as np\n"
        "from keras_adapters.adapter_file import AdapterFile, to_bytes\n"
        "from keras_adapters.fingerprint import Base\n"
        "from keras_adapters.methods.method import Method\n"
        "base = Base({'family': 'bert'}, {'x': '0' * 64})\n"
        "tensors = {name: np.ones(3, 'float32') for name in ('head/b', 'a', 'c')}\n"
        "adapter = AdapterFile(Method(None, 'nothing'), base, tensors, {'labels': ['z', 'y']})\n"
        "for _ in range(20):\n"
        "    print(to_bytes(adapter).hex())\n"
    )
    found = set()
    for _ in range(2):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        found |= set(done.stdout.split())
    assert len(found) == 1
