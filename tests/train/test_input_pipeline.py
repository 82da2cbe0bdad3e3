import collections

import numpy as np
import pytest

from train.input_pipeline import evaluation_batches, training_batches
from train.tasks.data import Examples
from train.text import BertPreprocessor

COUNT = 261
SEQ_LENGTH = 48


@pytest.fixture
def preprocess(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"]))
    return BertPreprocessor(path, lower_case=True, seq_length=SEQ_LENGTH)


@pytest.fixture
def examples():
    """Texts of 1 to 60 words; each example's label is its index."""
    lengths = np.random.default_rng(0).integers(1, 61, COUNT)
    return Examples((["a " * n for n in lengths],), np.arange(COUNT, dtype=np.int32))


def read(batches):
    return [(inputs, labels.numpy().tolist()) for inputs, labels in batches]


@pytest.mark.parametrize("fixed_length", [False, True])
def test_an_epoch_holds_every_example_once(fixed_length, examples, preprocess):
    batches = read(training_batches(examples, preprocess, 8, 0, fixed_length))
    assert len(batches) == -(-COUNT // 8)
    counts = collections.Counter(label for _, labels in batches for label in labels)
    assert counts == dict.fromkeys(range(COUNT), 1)
    for inputs, labels in batches:
        words = [len(examples.columns[0][label].split()) for label in labels]
        expected = np.minimum(np.array(words) + 2, SEQ_LENGTH)
        np.testing.assert_array_equal(inputs["input_mask"].numpy().sum(axis=1), expected)


def test_order_follows_the_seed_and_changes_with_the_epoch(examples, preprocess):
    def order(seed):
        data = training_batches(examples, preprocess, 8, seed)
        return [[label for _, labels in read(data) for label in labels] for _ in range(2)]

    first, second = order(1), order(2)
    assert order(1) == first
    assert first[0] != first[1]
    assert first[0] != second[0]


def test_batches_are_no_longer_than_they_must_be(examples, preprocess):
    batches = read(training_batches(examples, preprocess, 8, 0))
    for inputs, _ in batches:
        longest = inputs["input_mask"].numpy().sum(axis=1).max()
        assert inputs["input_word_ids"].shape[1] == min(-(-longest // 16) * 16, SEQ_LENGTH)
    used = sum(inputs["input_mask"].numpy().sum() for inputs, _ in batches)
    computed = sum(inputs["input_mask"].numpy().size for inputs, _ in batches)
    assert used / computed > 0.75
    # Batches of like length still come in no order of length.
    widths = [inputs["input_word_ids"].shape[1] for inputs, _ in batches]
    assert widths != sorted(widths)


def test_fixed_length_pads_every_batch(examples, preprocess):
    for inputs, _ in read(training_batches(examples, preprocess, 8, 0, fixed_length=True)):
        assert inputs["input_word_ids"].shape[1] == SEQ_LENGTH


@pytest.mark.parametrize("fixed_length", [False, True])
def test_evaluation_keeps_the_order(fixed_length, examples, preprocess):
    batches = read(evaluation_batches(examples, preprocess, 8, fixed_length))
    assert [label for _, labels in batches for label in labels] == list(range(COUNT))
