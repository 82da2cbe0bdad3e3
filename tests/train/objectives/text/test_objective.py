import numpy as np
import pytest
import tensorflow as tf

from keras_adapters.methods.method import Method
from keras_adapters.preprocessor import BertPreprocessor
from train.objectives.text.objective import TextObjective
from train.objectives.text.source import TextSource
from train.tasks.data import Examples, TaskData
from train.tasks.forms import Classification, Regression
from train.tasks.task import Task


@pytest.fixture
def preprocess(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b"]))
    return BertPreprocessor(path, lower_case=True, seq_length=8)


def split(labels, dtype=np.int32):
    texts = ["a " * (index + 1) for index in range(len(labels))]
    return Examples((texts,), np.array(labels, dtype))


def test_gathers_the_examples_asked_for(preprocess):
    examples = Examples((["a", "a b", "b"], ["b", "b", "a a"]), np.array([0, 1, 0], np.int32))
    source = TextSource(examples, preprocess)
    inputs, labels = source.gather(tf.constant([2, 1]))
    assert inputs["input_word_ids"].numpy().tolist() == [
        [2, 5, 3, 4, 4, 3, 0, 0],
        [2, 4, 5, 3, 5, 3, 0, 0],
    ]
    assert labels.numpy().tolist() == [0, 1]
    assert source.lengths.tolist() == [5, 6, 6]


def test_scores_each_split_by_the_tasks_metrics(preprocess):
    data = TaskData(
        ("no", "yes"),
        split([0, 1]),
        dev=split([0, 1, 1]),
        test=split([1, 0]),
        further={"dev_mismatched": split([0])},
    )
    row = Task(read=None, form=Classification(), metrics=("accuracy", "f1"))
    task = TextObjective(row, data, preprocess)
    assert task.splits == ("dev", "test", "dev_mismatched")
    assert task.sizes() == {"train": 2, "dev": 3, "test": 2, "dev_mismatched": 1}
    metrics = task.evaluate(lambda source: np.tile([0.0, 1.0], (len(source), 1)), task.splits)
    assert metrics["dev"] == pytest.approx({"accuracy": 2 / 3, "f1": 0.8})
    assert metrics["dev_mismatched"]["accuracy"] == 0


def test_a_regression_has_one_output_and_squared_error(preprocess, small_encoder):
    data = TaskData((), split([0.5, 5], np.float32), split([1, 2, 4], np.float32))
    row = Task(read=None, form=Regression((0.0, 5.0), columns=1), metrics=("pearson",))
    task = TextObjective(row, data, preprocess)
    model = task.build(small_encoder(), Method.named("full"))
    assert model.output_shape == (None, 1)
    assert float(task.loss([[1.0]], [[3.0]])) == 4
    assert "classes" not in task.describe()
    scores = task.evaluate(lambda source: np.array([[1.0], [2.0], [4.0]]), ["dev"])
    assert scores == {"dev": {"pearson": pytest.approx(1)}}
