import concurrent.futures
import errno
import json
import shutil
import types

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from keras_adapters.preprocessor import BertPreprocessor
from train.baselines import feature_cache
from train.baselines.feature_cache import FeatureCache
from train.fit.input_pipeline import Source, batches
from train.objectives.text.source import TextSource
from train.tasks.data import Examples

WIDTH, COUNT, SHARD = 3, 11, 4
IDENTITY = {"encoder": "one", "pooling": "mean"}


class Counts:
    """Stands for what runs an encoder; gives each text its number of tokens, and multiples."""

    def __init__(self, model, strategy, batch_size):
        pass

    def __call__(self, source, between):
        inputs, _ = source.gather(tf.range(len(source)))
        between()
        counts = tf.reduce_sum(inputs["input_mask"], axis=1).numpy()
        return np.outer(counts, 1 + np.arange(WIDTH)).astype(np.float32)


@pytest.fixture
def counting(monkeypatch):
    monkeypatch.setattr(feature_cache, "_SHARD", SHARD)
    monkeypatch.setattr(feature_cache, "Predictor", Counts)
    return types.SimpleNamespace(output_shape=(None, WIDTH))


@pytest.fixture
def make_source(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"]))
    preprocess = BertPreprocessor(tmp_path / "vocab.txt", lower_case=True, seq_length=32)

    def make(texts):
        return TextSource(Examples((texts,), np.arange(len(texts), dtype=np.int32)), preprocess)

    return make


TEXTS = ["a " * (1 + 7 * index % COUNT) for index in range(COUNT)]


def make_cache(tmp_path, model, **changes):
    strategy = tf.distribute.get_strategy()
    return FeatureCache(tmp_path / "cache", model, {**IDENTITY, **changes}, strategy, 2)


def read(source, order):
    data = batches(source, np.array([order]), tf.distribute.get_strategy(), fixed_length=True)
    ((inputs, labels),) = data
    return inputs["features"].numpy(), labels.numpy()


def test_features_are_the_models_and_labels_the_sources(tmp_path, counting, make_source):
    cache, source = make_cache(tmp_path, counting), make_source(TEXTS)
    kept = cache.source(source)
    assert len(kept) == COUNT
    np.testing.assert_array_equal(kept.lengths, source.lengths)
    order = [10, 0, 5, 4, 4, 7]
    features, labels = read(kept, order)
    counts = np.array([len(TEXTS[index]) // 2 + 2 for index in order])
    np.testing.assert_array_equal(features, np.outer(counts, [1, 2, 3]))
    np.testing.assert_array_equal(labels, order)
    assert (cache.computed, cache.read) == (COUNT, 0)
    assert cache.source(source) is kept


def test_what_is_kept_is_read_and_only_what_is_new_is_computed(tmp_path, counting, make_source):
    make_cache(tmp_path, counting).source(make_source(TEXTS))
    files = set((tmp_path / "cache").iterdir())
    assert len(files) == 3
    again = make_cache(tmp_path, counting)
    again.source(make_source(TEXTS))
    assert (again.computed, again.read) == (0, COUNT)
    # Of another text in the second file, of other texts in the last.
    changed = [*TEXTS[:5], "a", *TEXTS[6:-1]]
    other = make_cache(tmp_path, counting)
    features, _ = read(other.source(make_source(changed)), [5, 9])
    assert (other.computed, other.read) == (6, 4)
    np.testing.assert_array_equal(features[:, 0], [3, len(TEXTS[9]) // 2 + 2])
    assert files < set((tmp_path / "cache").iterdir())


def test_another_identity_finds_nothing(tmp_path, counting, make_source):
    make_cache(tmp_path, counting).source(make_source(TEXTS))
    for change in ({"encoder": "two"}, {"pooling": "pooler"}, {"max_seq_length": 8}):
        other = make_cache(tmp_path, counting, **change)
        other.source(make_source(TEXTS))
        assert (other.computed, other.read) == (COUNT, 0)


def test_texts_are_told_by_their_columns(tmp_path, counting, make_source):
    def pairs(first, second):
        source = make_source(["a"])
        return Source(source.lengths, source.gather, ([first], [second]))

    cache = make_cache(tmp_path, counting)
    for texts in (("a", "a a"), ("a a", "a"), ("a a a", ""), ('a", "a', "a")):
        cache.source(pairs(*texts))
    assert (cache.computed, cache.read) == (4, 0)


def test_damage_is_told_and_mended(tmp_path, counting, make_source, capsys):
    make_cache(tmp_path, counting).source(make_source(TEXTS))
    first, *_ = sorted((tmp_path / "cache").iterdir())
    whole = first.read_bytes()
    first.write_bytes(whole[:-50] + b"\1" + whole[-49:])
    cache = make_cache(tmp_path, counting)
    cache.source(make_source(TEXTS))
    assert cache.computed in (SHARD, COUNT % SHARD)
    assert f"{first} is damaged" in capsys.readouterr().out
    assert first.read_bytes() == whole


def test_several_that_compute_the_same_at_once_leave_whole_files(tmp_path, counting, make_source):
    source = make_source(TEXTS)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(make_cache(tmp_path, counting).source, source) for _ in range(4)]
        for job in jobs:
            features, _ = read(job.result(), [7])
            assert features[0, 0] == len(TEXTS[7]) // 2 + 2
    after = make_cache(tmp_path, counting)
    after.source(source)
    assert (after.computed, after.read) == (0, COUNT)
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_texts_are_not_tokenised_where_features_are_read(tmp_path, counting, make_source):
    source = make_source(TEXTS)
    make_cache(tmp_path, counting).source(source)

    def gather(indices):
        raise AssertionError("tokenised")

    untouched = Source(source.lengths, gather, source.texts, source.labels)
    _, labels = read(make_cache(tmp_path, counting).source(untouched), [3, 1])
    assert labels.tolist() == [3, 1]


def test_a_folder_that_cannot_be_one_is_told_at_once(tmp_path, counting):
    (tmp_path / "cache").write_text("")
    with pytest.raises(OSError, match=r"--feature_cache=.* cannot be written.*--feature_cache="):
        make_cache(tmp_path, counting)


def test_a_full_disk_is_told_with_the_ways_out(tmp_path, counting, make_source, monkeypatch):
    def write(path, array):
        raise OSError(errno.ENOSPC, f"{path} cannot be written: No space left on device")

    monkeypatch.setattr(feature_cache, "write_array", write)
    with pytest.raises(OSError, match=r"--feature_cache=.* No space left .*\. Make room, name an"):
        make_cache(tmp_path, counting).source(make_source(TEXTS))
    assert list((tmp_path / "cache").iterdir()) == []


# Whole runs.

EPOCHS, STEPS, DEV = 2, 6, 20


@pytest.fixture(scope="module")
def folder(make_tiny_folder, write_tiny_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    make_tiny_folder(folder / "encoder")
    write_tiny_data(folder / "train.csv", 8 * STEPS)
    write_tiny_data(folder / "dev.csv", DEV, seed=1)
    return folder


def flags(output, **changes):
    settings = {
        "task": "csv",
        "train_file": "train.csv",
        "dev_file": "dev.csv",
        "encoder": "encoder",
        "method": "feature_based",
        "feature_cache": "cache",
        "max_seq_length": 16,
        "batch_size": 8,
        "epochs": EPOCHS,
        "checkpoint_minutes": 0,
        "keep_checkpoints": 100,
        "export": "false",
        "output_dir": output,
    }
    return [f"--{name}={value}" for name, value in {**settings, **changes}.items()]


@pytest.fixture(scope="module")
def runs(folder, run_in_turn):
    changes = {
        "kept": {"export": "true"},
        "again": {"seed": 1},
        "not_kept": {"feature_cache": ""},
        "mirrored": {"pooling": "pooler", "strategy": "mirrored", "precision": "bfloat16"},
    }
    commands = [flags(name, **change) for name, change in changes.items()]
    done = dict(zip(changes, run_in_turn(*commands, cwd=folder), strict=True))
    assert {name: each.error for name, each in done.items()} == dict.fromkeys(changes)
    return done


def head(path):
    tensors = safetensors.numpy.load_file(path / "adapter" / "adapter.safetensors")
    return tensors["head/logits/kernel"], tensors["head/logits/bias"]


def test_each_split_is_computed_once(folder, runs):
    results = {name: json.loads((folder / name / "results.json").read_text()) for name in runs}
    told = {name: results[name].get("features") for name in runs}
    everything = 8 * STEPS + DEV
    for name in ("kept", "mirrored"):
        assert (told[name]["computed"], told[name]["read"]) == (everything, 0), name
    assert (told["again"]["computed"], told["again"]["read"]) == (0, everything)
    assert told["not_kept"] is None
    assert f"Features: 0 computed and {everything} read" in runs["again"].out


def test_the_head_learns_what_it_learns_on_the_encoder(folder, runs):
    """Also with the head's dropout: its masks are the same."""
    ours, theirs = head(folder / "kept"), head(folder / "not_kept")
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-6)
    assert np.abs(ours[0] - head(folder / "again")[0]).max() > 1e-3  # Of another seed.


def test_the_saved_model_gives_what_the_head_gives_on_features(folder, runs):
    texts = [line.split(",")[0] for line in (folder / "dev.csv").read_text().splitlines()[1:]]
    saved = tf.saved_model.load(str(folder / "kept" / "saved_model"))
    answers = saved.signatures["serving_default"](text=tf.constant(texts))["probabilities"]
    kernel, bias = head(folder / "kept")
    given = [
        tf.nn.softmax(features @ kernel + bias)
        for features in map(np.load, sorted((folder / "cache").iterdir()))
        if len(features) == DEV
    ]
    assert any(np.allclose(answers, each, atol=1e-5) for each in given)


def test_training_goes_on_with_features_or_without(folder, runs, run_in_turn):
    names = {"on_features": ("not_kept", "cache"), "off_features": ("kept", "")}
    for name, (begun, _) in names.items():
        path = shutil.copytree(folder / begun, folder / name)
        (path / "results.json").unlink()
        for output in ("adapter", "logs", "saved_model"):
            shutil.rmtree(path / output, ignore_errors=True)
        for file in (path / "checkpoints").iterdir():
            if int(file.name.split(".")[0].removeprefix("step-")) > 8:
                file.unlink()
    commands = [flags(name, feature_cache=cache) for name, (_, cache) in names.items()]
    for name, done in zip(names, run_in_turn(*commands, cwd=folder), strict=True):
        assert done.error is None
        assert "Going on after step 8" in done.out
        np.testing.assert_allclose(head(folder / name)[0], head(folder / "kept")[0], atol=1e-6)
