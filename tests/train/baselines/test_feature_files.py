import resource

import numpy as np
import pytest

from train.baselines.feature_files import DamagedArrayError, open_array, write_array

ARRAY = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "folder" / "array.npy"
    write_array(path, ARRAY)
    return path


def test_what_is_written_is_mapped_and_is_numpys(path):
    mapped = open_array(path)
    assert isinstance(mapped, np.memmap)
    assert mapped.dtype == np.float32
    np.testing.assert_array_equal(mapped, ARRAY)
    np.testing.assert_array_equal(np.load(path), ARRAY)
    assert [file.name for file in path.parent.iterdir()] == ["array.npy"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:-40],
        lambda content: content + b"\0",
        lambda content: content[:10] + b"9" + content[11:],
        lambda content: content[:-33] + b"\xff" + content[-32:],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: b"",
        lambda content: b"\x93NUMPY",
    ],
    ids=["short", "shorter", "long", "header", "value", "checksum", "empty", "start"],
)
def test_any_other_byte_is_damage(path, damage):
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DamagedArrayError, match=r"array\.npy is damaged"):
        open_array(path)


def test_a_file_that_is_not_there_is_no_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_array(tmp_path / "gone.npy")


def test_a_full_disk_leaves_what_stood_there(path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match=r"array\.npy cannot be written"):
            write_array(path, np.zeros(1000, np.float32))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    np.testing.assert_array_equal(open_array(path), ARRAY)
    assert [file.name for file in path.parent.iterdir()] == ["array.npy"]
