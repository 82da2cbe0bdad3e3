import collections

import numpy as np
import pytest
import tensorflow as tf

from keras_adapters.preprocessor import BertPreprocessor
from train.fit.input_pipeline import Source, batches, epoch_order, steps_per_epoch
from train.objectives.text.source import TextSource
from train.tasks.data import Examples

COUNT = 261
SEQ_LENGTH = 48


@pytest.fixture
def source(tmp_path):
    """Texts of 1 to 60 words; each example's label is its index."""
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"]))
    lengths = np.random.default_rng(0).integers(1, 61, COUNT)
    examples = Examples((["a " * n for n in lengths],), np.arange(COUNT, dtype=np.int32))
    return TextSource(examples, BertPreprocessor(path, lower_case=True, seq_length=SEQ_LENGTH))


def read(source, order, **kwargs):
    data = batches(source, order, tf.distribute.get_strategy(), **kwargs)
    return [(inputs["input_mask"].numpy(), labels.numpy()) for inputs, labels in data]


def test_an_epoch_holds_every_example_once_but_for_what_fills_no_batch():
    order = epoch_order(COUNT, 8, seed=0, epoch=0)
    assert order.shape == (COUNT // 8, 8)
    assert len(np.unique(order)) == order.size
    counts = collections.Counter(
        np.concatenate([epoch_order(COUNT, 8, 0, epoch).ravel() for epoch in range(9)])
    )
    assert set(counts) == set(range(COUNT))  # Other examples are left out each epoch.


def test_few_examples_are_repeated_to_fill_a_batch():
    assert steps_per_epoch(3, 8) == 1
    order = epoch_order(3, 8, seed=0, epoch=0)
    assert order.shape == (1, 8)
    assert sorted(collections.Counter(order[0].tolist()).values()) == [2, 3, 3]


def test_order_follows_seed_and_epoch_alone():
    first = epoch_order(COUNT, 8, seed=1, epoch=0)
    assert np.array_equal(first, epoch_order(COUNT, 8, seed=1, epoch=0))
    assert not np.array_equal(first, epoch_order(COUNT, 8, seed=1, epoch=1))
    assert not np.array_equal(first, epoch_order(COUNT, 8, seed=2, epoch=0))


def test_batches_hold_what_the_order_says(source):
    order = epoch_order(COUNT, 8, seed=0, epoch=0)
    for (mask, labels), expected in zip(read(source, order), order, strict=True):
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_array_equal(mask.sum(axis=1), source.lengths[expected])


def test_batches_are_no_longer_than_they_must_be(source):
    for mask, _ in read(source, epoch_order(COUNT, 8, seed=0, epoch=0)):
        assert mask.shape[1] == min(-(-mask.sum(axis=1).max() // 16) * 16, SEQ_LENGTH)


def test_by_length_sorts_within_each_batch(source):
    order = epoch_order(COUNT, 8, seed=0, epoch=0)
    for (mask, labels), expected in zip(read(source, order, by_length=True), order, strict=True):
        assert sorted(labels) == sorted(expected)
        assert np.all(np.diff(mask.sum(axis=1)) >= 0)


def test_fixed_length_makes_every_shape_static(source):
    order = epoch_order(COUNT, 8, seed=0, epoch=0)
    data = batches(source, order, tf.distribute.get_strategy(), fixed_length=True)
    inputs, labels = data.element_spec
    assert {spec.shape.as_list() == [8, SEQ_LENGTH] for spec in inputs.values()} == {True}
    assert labels.shape.as_list() == [8]


def test_hosts_and_replicas_share_a_batch_between_them():
    """Two hosts of two replicas: each reads its own quarters, in the replicas' order."""

    class TwoHosts:
        num_replicas_in_sync = 4

        def distribute_datasets_from_function(self, function):
            return [
                function(tf.distribute.InputContext(2, host, self.num_replicas_in_sync))
                for host in range(2)
            ]

    source = Source(np.ones(16, np.int64), lambda i: ({"input_mask": tf.ones([4, 1], tf.int32)}, i))
    order = np.arange(32, dtype=np.int32).reshape(2, 16)
    first, second = (
        [labels.numpy().tolist() for _, labels in data]
        for data in batches(source, order, TwoHosts())
    )
    assert first == [[0, 1, 2, 3], [4, 5, 6, 7], [16, 17, 18, 19], [20, 21, 22, 23]]
    assert second == [[8, 9, 10, 11], [12, 13, 14, 15], [24, 25, 26, 27], [28, 29, 30, 31]]
