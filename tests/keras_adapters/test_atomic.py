import pytest

from keras_adapters.atomic import atomic_folder, write_bytes, write_text


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
