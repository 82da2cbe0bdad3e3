import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from train.fit.input_pipeline import Source
from train.fit.predictor import Predictor

LENGTHS = np.array([5, 1, 9, 3, 3, 20, 2, 7, 40, 4])


@pytest.fixture
def source():
    ids = np.zeros([len(LENGTHS), 48], np.int32)
    for row, length in enumerate(LENGTHS):
        ids[row, :length] = row + 1

    def gather(indices):
        chosen = tf.gather(ids, indices)
        return {"ids": chosen, "input_mask": tf.cast(chosen > 0, tf.int32)}, indices

    return Source(LENGTHS, gather)


class Sums(tf_keras.Model):
    def call(self, inputs, training=None):
        values = tf.cast(inputs["ids"], tf.float32)
        return {"sum": tf.reduce_sum(values, axis=1), "each": values}


@pytest.mark.parametrize("batch_size", [1, 4, 64])
@pytest.mark.parametrize("fixed_length", [False, True])
def test_every_example_once_in_order(batch_size, fixed_length, source):
    calls = []
    predict = Predictor(
        Sums(),
        tf.distribute.get_strategy(),
        batch_size,
        fixed_length,
        between=lambda: calls.append(1),
    )
    outputs = predict(source)
    np.testing.assert_array_equal(outputs["sum"], LENGTHS * np.arange(1, len(LENGTHS) + 1))
    assert len(calls) == -(-len(LENGTHS) // batch_size)
    for row, values in enumerate(outputs["each"]):
        np.testing.assert_array_equal(values[: LENGTHS[row]], row + 1)
        assert values[LENGTHS[row] :].max(initial=0) == 0
