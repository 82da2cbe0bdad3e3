"""Damaged files: an encoder has exactly the right weights, or there is a ValueError or OSError."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from keras_adapters.converters import configs
from keras_adapters.converters.load import load_encoder

# (format, how many files are damaged, each in its own copy); a SavedModel takes a second to run.
COUNTS = {"hugging_face": 120, "tf1": 60, "model_garden": 80, "saved_model": 15}
# Beside the files of an encoder; TensorFlow and Keras write them.
UNREAD = ("vocab.txt", "keras_metadata.pb", "fingerprint.pb", "checkpoint", "bert_model.ckpt.meta")
ODD = (None, True, False, 0, -1, 1.5, float("nan"), float("inf"), 10**6, 10**30, "3", "", "gelu")
ODD = (*ODD, [], [3], [[[]]], {}, {"a": 1})


def flip(content, rng, end):
    content[rng.integers(end)] ^= 1 << rng.integers(8)


def overwrite(content, rng, end):
    start = rng.integers(end)
    content[start : min(start + 8, end)] = rng.bytes(min(8, end - start))


def cut_out(content, rng, end):
    start = rng.integers(end)
    del content[start : start + rng.integers(1, 30)]


def cut_short(content, rng, end):
    del content[rng.integers(len(content)) :]


def empty(content, rng, end):
    content.clear()


DAMAGES = (flip, flip, overwrite, cut_out, cut_short, empty)


def damage(path, rng):
    content = bytearray(path.read_bytes())
    end = len(content)
    if path.suffix == ".safetensors":
        end = 8 + int.from_bytes(content[:8], "little")  # No checksum guards the numbers.
    how = DAMAGES[rng.integers(len(DAMAGES))]
    how(content, rng, end)
    path.write_bytes(content)
    return how.__name__


def attempt(function, path):
    """Returns what a function returns, and the error if it raised one that it may raise."""
    try:
        return function(path), None
    except (ValueError, OSError) as error:
        return None, error


@pytest.mark.parametrize("kind", COUNTS)
def test_random_damage(kind, tiny, tmp_path):
    rng = np.random.default_rng(list(COUNTS).index(kind))
    refused = 0
    for index in range(COUNTS[kind]):
        folder = shutil.copytree(tiny.folders[kind], tmp_path / str(index))
        files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name not in UNREAD]
        path = files[rng.integers(len(files))]
        what = damage(path, rng)
        encoder, error = attempt(load_encoder, folder)
        if error is None:
            tiny.assert_same(encoder)
        else:
            assert str(folder) in str(error), (what, path)
            refused += 1
        shutil.rmtree(folder)
    assert refused > COUNTS[kind] / 2


@pytest.mark.parametrize("kind", COUNTS)
def test_a_folder_in_a_files_place(kind, tiny, tmp_path):
    source = tiny.folders[kind]
    for file in sorted(p for p in source.rglob("*") if p.is_file()):
        if file.name in UNREAD:
            continue
        folder = shutil.copytree(source, tmp_path / "copy")
        place = folder / file.relative_to(source)
        place.unlink()
        place.mkdir()
        with pytest.raises(OSError, match=str(folder)):
            load_encoder(folder)
        shutil.rmtree(folder)


def test_a_folder_called_as_an_index_is_no_second_checkpoint(tiny, tmp_path):
    folder = shutil.copytree(tiny.folders["model_garden"], tmp_path / "copy")
    (folder / "x.index").mkdir()
    (folder / "y.yaml").mkdir()
    tiny.assert_same(load_encoder(folder))
    with pytest.raises(OSError, match=r"x\.index holds no BERT encoder"):
        load_encoder(folder / "x.index")
    with pytest.raises(OSError, match="there is no such folder, file or checkpoint"):
        load_encoder(folder / "x")


READERS = {
    "config.json": lambda path: configs.read_hugging_face_config(path.parent),
    "bert_config.json": configs.read_bert_config,
    "params.yaml": lambda path: configs.read_model_garden_config(path.parent),
}


def write_config(path, config):
    if path.suffix == ".yaml":
        names = {ours: theirs for theirs, (ours, _) in configs._MODEL_GARDEN.items()}
        bert = {names.get(key, key): value for key, value in config.items()}
        config = {"task": {"model": {"encoder": {"type": "bert", "bert": bert}}}}
    path.write_text(json.dumps(config))  # JSON is YAML.


@pytest.mark.parametrize("name", READERS)
def test_settings_of_odd_types(name, tmp_path, odd):
    path = tmp_path / name
    keys = [key for key in odd.config if key != "initializer_range"]
    for key in (*keys, "embedding_size"):
        for value in (*ODD, 10**4200):
            write_config(path, {**odd.config, key: value})
            config, error = attempt(READERS[name], path)
            if error is None:
                assert type(value) in (int, float, str, type(None)), (key, value)
                assert type(config[key]) in (int, float, str)
            else:
                assert str(path) in str(error), (key, value)
                assert len(str(error)) < 500


@pytest.mark.parametrize("key", ["model_type", "position_embedding_type", "layer_norm_eps"])
def test_settings_of_hugging_face_of_odd_types(key, tmp_path, odd):
    path = tmp_path / "config.json"
    for value in ODD[1:]:
        write_config(path, {**odd.config, key: value})
        with pytest.raises(ValueError, match=rf"config\.json: `{key}` must be "):
            READERS["config.json"](path)


@pytest.mark.parametrize("name", ["config.json", "bert_config.json"])
def test_embeddings_of_another_width_have_no_projection_there(name, tmp_path, odd):
    write_config(tmp_path / name, {**odd.config, "embedding_size": 10})
    with pytest.raises(ValueError, match=r"`embedding_size` must be `hidden_size`.*10 and 18"):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a":' * 100_000, "nul", "[1]", "1", '"x"', ""]
)
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_mapping(name, content, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("name", READERS)
def test_what_is_no_text(name, tmp_path):
    (tmp_path / name).write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ValueError, match=rf"{name} is not "):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [
        "encoder: {type: [bert]}",
        "encoder: {type: {bert: 1}}",
        "encoder: {type: 3}",
        "encoder: {type: null}",
        "encoder: {type: bert, bert: [1]}",
        "encoder: {type: bert, bert: 1}",
        "encoder: {type: bert, bert: ''}",
        "encoder: {type: bert, bert: {norm_first: 'no'}}",
        "encoder: {type: bert, bert: {norm_first: [false]}}",
        "encoder: {type: bert, bert: {vocab_size: 2001-01-01}}",
        "encoder: {type: bert, bert: {vocab_size: 0x" + "f" * 9999 + "}, x: 1}",
        "encoder: &a {type: bert, bert: {vocab_size: *a}}",
        "encoder: [bert]",
        "encoder: bert",
        "a: &a [*a]",
        "a: &a {encoder: *a}",
        "x: !!int ''",
        "x: !!bool x",
        "x: !!timestamp x",
        "x: 2001-99-99",
        "? [a]\n: 1",
        "a: *b",
        "!!python/object:os.system {}",
        "a: 1\n--- \nb: 2",
        "\t",
        "a: \x00",
    ],
)
def test_yaml_that_describes_no_bert(content, tmp_path):
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(ValueError, match=r"params\.yaml") as error:
        configs.read_model_garden_config(tmp_path)
    assert len(str(error.value)) < 700


def test_yaml_with_aliases(tmp_path):
    """As PyYAML writes what stands in two places."""
    lines = ["a: &a0 [1]", *(f"b{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    lines += ["encoder: &e {type: bert, bert: {num_layers: 3}}", "again: {encoder: *e}"]
    (tmp_path / "params.yaml").write_text("\n".join(lines))
    assert configs.read_model_garden_config(tmp_path)["num_hidden_layers"] == 3


def test_a_configuration_that_may_not_be_read(tiny, monkeypatch):
    real = pathlib.Path.read_text

    def forbid(path, *args, **kwargs):
        if path.name == "bert_config.json":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(pathlib.Path, "read_text", forbid)
    with pytest.raises(PermissionError, match=r"bert_config\.json"):
        load_encoder(tiny.folders["tf1"])
