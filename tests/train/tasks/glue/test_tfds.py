import io
import json
import random
import shutil
import socket
import urllib.error
import urllib.request

import pytest

from train.tasks import glue
from train.tasks.glue import SPECS, tfds

RTE = [("a", "b", 0), ("c", "d", 1)]


@pytest.mark.parametrize("data_dir", [None, "empty"])
def test_no_data_and_no_network_says_both_ways_to_get_it(tmp_path, monkeypatch, data_dir):
    def fail(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", fail)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "default"))
    (tmp_path / "empty").mkdir()
    where = tmp_path / data_dir if data_dir else None
    message = (
        rf"--task=mrpc: .*{data_dir or 'default'}.*no route.*gluebenchmark.com.*holds MRPC/ with "
        "--data_dir; or .*glue/mrpc.*--data_dir"
    )
    with pytest.raises(FileNotFoundError, match=message):
        glue.read("mrpc", where)


@pytest.mark.parametrize("name", SPECS)
def test_both_sources_give_the_same_examples(root, prepared, rows, name):
    def same(one, other):
        labels, others = (split.labels for split in (one, other))
        if labels is None or others is None:
            return labels is others and one.columns == other.columns and one.ids == other.ids
        return rows(one, "labels") == rows(other, "labels") and labels.dtype == others.dtype

    expected, data = (glue.read(name, place).with_unlabelled() for place in (root, prepared))
    assert data.label_names == expected.label_names
    for split in ("train", "dev"):
        assert same(getattr(data, split), getattr(expected, split))
    for kind in ("further", "unlabelled"):
        splits, others = getattr(data, kind), getattr(expected, kind)
        assert list(splits) == list(others)
        assert all(same(splits[key], others[key]) for key in splits)


def test_label_names_are_those_of_tensorflow_datasets(prepared):
    import tensorflow_datasets

    for name, spec in SPECS.items():
        builder = tensorflow_datasets.builder_from_directory(tfds.find(name, prepared))
        label = builder.info.features["label"]
        assert tuple(getattr(label, "names", ())) == spec.names


def test_data_is_found_where_tensorflow_datasets_keeps_it(prepared, rows, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    assert rows(glue.read("rte", None).train, "labels") == RTE


def test_what_is_nowhere_is_downloaded_where_there_is_a_network(
    downloads, rows, tmp_path, monkeypatch
):
    from tensorflow_datasets.text import glue as theirs

    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: io.BytesIO())
    monkeypatch.setattr(theirs.Glue, "_make_download_manager", lambda self, **_: downloads)
    assert rows(glue.read("rte", tmp_path).train, "labels") == RTE
    assert tfds.find("rte", tmp_path)


def test_the_newest_prepared_version_is_found(tmp_path):
    for version in ("1.0.1", "10.0.0", "9.0.0", "incomplete.X_11.0.0", "11..0", "²"):
        (tmp_path / "glue" / "rte" / version).mkdir(parents=True)
        (tmp_path / "glue" / "rte" / version / "dataset_info.json").touch()
    (tmp_path / "glue" / "rte" / "12.0.0").mkdir()
    assert tfds.find("rte", tmp_path).name == "10.0.0"
    assert tfds.find("mnli", tmp_path) is None


@pytest.fixture
def copy_of(prepared, tmp_path):
    """Copies a task's prepared dataset, and returns the folder of its version."""

    def copy_of(task):
        found = tfds.find(task, prepared)
        folder = tmp_path / found.relative_to(prepared)
        shutil.rmtree(folder, ignore_errors=True)
        return shutil.copytree(found, folder)

    return copy_of


def records(folder, split):
    (path,) = folder.glob(f"glue-{split}.tfrecord-*")
    return path


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


DAMAGE = {
    "train": [
        lambda folder: records(folder, "train").write_bytes(b"no records"),
        lambda folder: records(folder, "train").write_bytes(b""),
        lambda folder: records(folder, "train").unlink(),
        lambda folder: (folder / "dataset_info.json").write_text("{"),
        lambda folder: (folder / "dataset_info.json").write_text("[]"),
        lambda folder: (folder / "dataset_info.json").unlink(),
        lambda folder: (folder / "features.json").write_text("{}"),
        lambda folder: (folder / "features.json").unlink(),
        lambda folder: edit(folder / "dataset_info.json", '"train"', '"trained"'),
        lambda folder: edit(folder / "features.json", '"idx"', '"index"'),
        lambda folder: edit(folder / "features.json", '"sentence1"', '"premise"'),
        lambda folder: (folder / "label.labels.txt").write_text("not_entailment\nentailment\n"),
        lambda folder: (folder / "label.labels.txt").write_text("entailment\n"),
    ],
    "validation": [
        lambda folder: records(folder, "validation").write_bytes(b"\0" * 40),
        lambda folder: edit(folder / "dataset_info.json", '"validation"', '"dev"'),
    ],
}


@pytest.mark.parametrize(
    ("split", "damage"), [(split, damage) for split in DAMAGE for damage in DAMAGE[split]]
)
def test_damaged_files_are_one_error_that_says_what_to_do(copy_of, split, damage):
    folder = copy_of("rte")
    damage(folder)
    message = rf"rte.{folder.name}: the split '{split}' .*\. Remove this folder, and prepare it"
    with pytest.raises(ValueError, match=message):
        tfds.read("rte", folder)


def test_another_tasks_dataset_is_an_error(copy_of):
    with pytest.raises(ValueError, match=r"stsb.*labels are \(\), not \('entailment', 'not_ent"):
        tfds.read("rte", copy_of("stsb"))


def test_damaged_test_records_stop_nothing_but_predictions(copy_of):
    folder = copy_of("rte")
    records(folder, "test").write_bytes(b"no records")
    data = tfds.read("rte", folder)
    with pytest.raises(ValueError, match="the split 'test' cannot be read"):
        data.with_unlabelled()


def test_one_class_is_not_enough_to_train_on(copy_of, monkeypatch):
    whole = tfds._columns

    def one_class(builder, split):
        data = whole(builder, split)
        return data | {"label": data["label"] * 0}

    monkeypatch.setattr(tfds, "_columns", one_class)
    with pytest.raises(ValueError, match=r"rte.*two different labels\. Received: \['entailment'\]"):
        tfds.read("rte", copy_of("rte"))


@pytest.mark.parametrize(("task", "label"), [("rte", 2), ("rte", -1), ("stsb", float("nan"))])
def test_a_label_out_of_range_is_an_error(copy_of, monkeypatch, task, label):
    whole = tfds._columns
    monkeypatch.setattr(
        tfds, "_columns", lambda *a: (data := whole(*a)) | {"label": data["label"] * 0 + label}
    )
    with pytest.raises(ValueError, match="there are labels that are not from 0 to"):
        tfds.read(task, copy_of(task))


def test_any_damage_is_an_error_or_harmless(copy_of):
    expected = tfds.read("stsb", copy_of("stsb")).with_unlabelled()
    errors = []
    for seed in range(20):
        random.seed(seed)
        folder = copy_of("stsb")
        path = random.choice(sorted(path for path in folder.iterdir() if path.is_file()))
        content = bytearray(path.read_bytes())
        place = random.randrange(len(content))
        if seed % 2:
            content[place] ^= 1 << random.randrange(8)
        else:
            del content[place:]
        path.write_bytes(content)
        try:
            data = tfds.read("stsb", folder).with_unlabelled()
        except ValueError as error:
            errors.append(str(error))
        else:
            assert data.fingerprint() == expected.fingerprint()
            assert data.unlabelled == expected.unlabelled
    assert len(errors) > 10
    assert all("Remove this folder" in error for error in errors)


@pytest.mark.long
def test_a_worker_of_tf_config_trains_on_it(prepared, make_tiny_folder, run_command, tmp_path):
    # Workers must find each other before TensorFlow Datasets computes anything.
    encoder = make_tiny_folder(tmp_path / "encoder")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = {"cluster": {"worker": [address]}, "task": {"type": "worker", "index": 0}}
    done = run_command(
        "-m",
        "train.run",
        "--task=mnli",
        f"--data_dir={prepared}",
        f"--encoder={encoder}",
        "--output_dir=run",
        "--adapter_size=4",
        "--max_seq_length=16",
        "--batch_size=2",
        "--epochs=1",
        "--predict_test",
        "--noexport",
        cwd=tmp_path,
        environment={"TF_CONFIG": json.dumps(config)},
    )
    assert done.returncode == 0, done.err
    assert "Strategy: multi_worker_mirrored, since TF_CONFIG lists workers" in done.out
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["metrics"].keys() == {"dev", "dev_mismatched"}
    predictions = sorted(path.name for path in (tmp_path / "run" / "predictions").iterdir())
    assert predictions == ["AX.tsv", "MNLI-m.tsv", "MNLI-mm.tsv"]
