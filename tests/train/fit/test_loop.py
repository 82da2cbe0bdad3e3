import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from train.fit.input_pipeline import Source
from train.fit.loop import DevMetrics, fit

COUNT, BATCH, EPOCHS = 27, 4, 3
STEPS = COUNT // BATCH


@pytest.fixture
def source():
    random = np.random.default_rng(0)
    values = random.normal(size=[COUNT, 5]).astype(np.float32)
    labels = random.normal(size=[COUNT, 1]).astype(np.float32)

    def gather(indices):
        inputs = {"input_mask": tf.ones([BATCH, 5], tf.int32), "x": tf.gather(values, indices)}
        return inputs, tf.gather(labels, indices)

    return Source(np.arange(COUNT), gather)


@pytest.fixture
def make():
    def make():
        tf_keras.utils.set_random_seed(0)
        inputs = {"input_mask": tf_keras.Input([5]), "x": tf_keras.Input([5])}
        model = tf_keras.Model(inputs, tf_keras.layers.Dense(1)(inputs["x"]))
        model.compile(tf_keras.optimizers.SGD(0.1), "mse")
        return model

    return make


class Keep(tf_keras.callbacks.Callback):
    def __init__(self):
        self.states, self.epochs = [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append(epoch)

    def on_train_batch_end(self, batch, logs=None):
        self.states.append(self.model.get_weights())


def train(model, source, steps_done=0):
    keep = Keep()
    strategy = tf.distribute.get_strategy()
    fit(
        model,
        source,
        strategy,
        batch_size=BATCH,
        epochs=EPOCHS,
        seed=3,
        steps_done=steps_done,
        callbacks=[keep],
    )
    return keep


@pytest.mark.parametrize(
    ("step", "epochs"), [(1, [0, 1, 2]), (STEPS, [1, 2]), (2 * STEPS + 5, [2]), (3 * STEPS, [])]
)
def test_goes_on_from_any_step(step, epochs, source, make):
    whole = train(make(), source)
    assert len(whole.states) == EPOCHS * STEPS
    model = make()
    model.set_weights(whole.states[step - 1])
    rest = train(model, source, steps_done=step)
    assert rest.epochs == epochs
    assert len(rest.states) == EPOCHS * STEPS - step
    for one, other in zip(whole.states[step:], rest.states, strict=True):
        assert all(map(np.array_equal, one, other))


def test_dev_metrics_are_in_the_logs_of_later_callbacks(source, make):
    seen = []

    class Reader(tf_keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(logs["val_f1"])

    fit(
        make(),
        source,
        tf.distribute.get_strategy(),
        batch_size=BATCH,
        epochs=2,
        seed=0,
        callbacks=[DevMetrics(lambda: {"f1": 0.5 + len(seen)}), Reader()],
    )
    assert seen == [0.5, 1.5]
