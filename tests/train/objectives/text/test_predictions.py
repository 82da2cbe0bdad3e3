import numpy as np
import pytest

from train.objectives.text.predictions import FILES, write_predictions
from train.tasks.data import Examples
from train.tasks.glue.specs import SPECS, file_splits


def some(count, ids=None):
    return Examples((["text"] * count,), None, ids)


LOGITS = np.array([[0.1, 0.9, 0.2], [3.0, 1.0, 2.0], [0.0, 0.0, 1.0]], np.float32)
INFERENCE = ("entailment", "neutral", "contradiction")


def test_every_test_split_of_glue_has_a_file():
    splits = [name for task in SPECS for name in file_splits(task).unlabelled]
    assert sorted([*splits, "AX"]) == sorted(FILES)
    numbers = {name for name, form in FILES.items() if form == "number"}
    assert numbers == {spec.folder for spec in SPECS.values() if spec.spellings}
    assert [name for name, form in FILES.items() if form == "value"] == ["STS-B"]


@pytest.mark.parametrize(
    ("name", "labels", "outputs", "content"),
    [
        ("MNLI-mm", INFERENCE, LOGITS, b"0\tneutral\n1\tentailment\n2\tcontradiction\n"),
        ("AX", INFERENCE, LOGITS, b"0\tneutral\n1\tentailment\n2\tcontradiction\n"),
        ("CoLA", ("unacceptable", "acceptable"), LOGITS[:, :2], b"0\t1\n1\t0\n2\t0\n"),
        ("RTE", INFERENCE[::2], LOGITS[:, :2], b"0\tcontradiction\n1\tentailment\n2\tentailment\n"),
        ("STS-B", (), np.array([-0.2, 5.1, 2.34567]), b"0\t0.000\n1\t5.000\n2\t2.346\n"),
        ("STS-B", (), np.array([[1.0], [-0.0001], [4.9996]]), b"0\t1.000\n1\t0.000\n2\t5.000\n"),
    ],
)
def test_bytes_are_as_the_site_wants_them(tmp_path, name, labels, outputs, content):
    path = write_predictions(tmp_path, name, some(3), labels, outputs)
    assert path == tmp_path / f"{name}.tsv"
    assert path.read_bytes() == b"index\tprediction\n" + content


def test_ids_are_in_the_files_order(tmp_path):
    path = write_predictions(
        tmp_path, "QQP", some(3, ("7", "3", "5")), ("no", "yes"), LOGITS[:, :2]
    )
    assert path.read_bytes() == b"index\tprediction\n7\t1\n3\t0\n5\t0\n"


@pytest.mark.parametrize(
    ("name", "outputs", "message"),
    [
        ("MNLI", LOGITS, "one of CoLA, .* Received: 'MNLI'"),
        ("AX", LOGITS[:2], "AX: .*each of the 3 examples. Received: 2"),
        ("AX", LOGITS * np.nan, "AX: .*finite"),
    ],
)
def test_what_cannot_be_handed_in_is_not_written(tmp_path, name, outputs, message):
    with pytest.raises(ValueError, match=message):
        write_predictions(tmp_path, name, some(3), INFERENCE, outputs)
    assert not list(tmp_path.rglob("*"))
