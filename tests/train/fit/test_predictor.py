import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from train.fit.execution import Execution
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
        Execution(fixed_length=fixed_length),
    )
    outputs = predict(source, lambda: calls.append(1))
    np.testing.assert_array_equal(outputs["sum"], LENGTHS * np.arange(1, len(LENGTHS) + 1))
    assert len(calls) == -(-len(LENGTHS) // batch_size)
    for row, values in enumerate(outputs["each"]):
        np.testing.assert_array_equal(values[: LENGTHS[row]], row + 1)
        assert values[LENGTHS[row] :].max(initial=0) == 0


@pytest.mark.parametrize("dtype", [tf.float32, tf.int32, tf.float16])
def test_what_is_filled_up_holds_the_lowest_number(dtype, source):
    class Each(tf_keras.Model):
        def call(self, inputs, training=None):
            each = tf.cast(inputs["ids"], dtype)
            return {"each": each, "pairs": tf.stack([each, each], axis=2)}

    outputs = Predictor(Each(), tf.distribute.get_strategy(), 1)(source)
    assert outputs["each"].dtype == dtype.as_numpy_dtype
    assert outputs["pairs"].shape == (*outputs["each"].shape, 2)
    longest = -(-LENGTHS.max() // 16) * 16
    for row, length in enumerate(-(-LENGTHS // 16) * 16):
        assert np.all(outputs["each"][row, length:longest] == dtype.min)
        assert np.all(outputs["pairs"][row, length:longest] == dtype.min)


# Compares what replicas give with what one device gives.
REPLICAS = """
import numpy as np
import tensorflow as tf
import tf_keras

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, 3 * [tf.config.LogicalDeviceConfiguration()])

from train.fit.execution import Execution
from train.fit.execution import Execution
from train.fit.input_pipeline import Source
from train.fit.predictor import Predictor

lengths = np.array([5, 1, 9, 3, 3, 20, 2, 7, 40, 4, 33])
ids = np.where(np.arange(48) < lengths[:, np.newaxis], np.arange(1, 12)[:, np.newaxis], 0)

def gather(indices):
    chosen = tf.gather(tf.constant(ids, tf.int32), indices)
    return {"ids": chosen, "input_mask": tf.cast(chosen > 0, tf.int32)}, indices

class Sums(tf_keras.Model):
    def call(self, inputs, training=None):
        values = tf.cast(inputs["ids"], tf.float32)
        total = tf.reduce_sum(values, axis=1)
        return {"sum": total, "two": tf.stack([total, total], 1), "each": values,
                "pairs": tf.stack([values, values], 2)}

strategy = tf.distribute.MirroredStrategy()
assert strategy.num_replicas_in_sync == 3
source = Source(lengths, gather)
for batch_size in (4, 64):
    for fixed_length in (False, True):
        execution = Execution(fixed_length=fixed_length)
        one = Predictor(Sums(), tf.distribute.get_strategy(), batch_size, execution)(source)
        many = Predictor(Sums(), strategy, batch_size, execution)(source)
        for name in ("sum", "two"):
            np.testing.assert_array_equal(many[name], one[name])
        for name in ("each", "pairs"):
            assert many[name].shape == one[name].shape == (11, 48, *one[name].shape[2:])
            for row, length in enumerate(lengths):
                np.testing.assert_array_equal(many[name][row, :length], row + 1)
                assert many[name][row, length:].max(initial=0) == 0
"""


def test_replicas_of_unlike_lengths_give_what_one_device_gives(run_command, tmp_path):
    done = run_command("-c", REPLICAS, cwd=tmp_path)
    assert done.returncode == 0, done.err
