import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from train.fit.execution import Execution
from train.fit.input_pipeline import Source
from train.fit.loop import DevMetrics, fit, plan_training
from train.fit.packing import Packing

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
    plan = plan_training(source, strategy, batch_size=BATCH, epochs=EPOCHS, seed=3)
    fit(model, source, strategy, plan, steps_done=steps_done, callbacks=[keep])
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

    strategy = tf.distribute.get_strategy()
    plan = plan_training(source, strategy, batch_size=BATCH, epochs=2, seed=0)
    callbacks = [DevMetrics(lambda: {"f1": 0.5 + len(seen)}), Reader()]
    fit(make(), source, strategy, plan, callbacks=callbacks)
    assert seen == [0.5, 1.5]


# Texts of 4 and of 12 tokens, in two batches of four.
LENGTHS = np.array([4, 4, 4, 12, 4, 12, 4, 4])


@pytest.mark.parametrize(
    ("execution", "share"),
    [
        (Execution(fixed_length=True), 6 / 24),
        # All are padded to 16, the least that is not cut off.
        (Execution(), 6 / 16),
        (Execution(parts=4, trim_parts=True), 6 / 16),
        # Two rows of 16 for each batch: 12 + 4 and 4 + 4.
        (Execution(packing=Packing(16)), 48 / 64),
        (Execution(packing=Packing(16, length=24)), 48 / 48),
    ],
)
def test_tells_what_share_of_the_tokens_is_useful(execution, share):
    strategy = tf.distribute.get_strategy()
    source = Source(LENGTHS, None)
    plan = plan_training(source, strategy, batch_size=4, epochs=1, seed=0, execution=execution)
    assert sorted(LENGTHS[plan.order].sum(axis=1)) == [24, 24]
    assert plan.useful_token_share(source, seq_length=24) == pytest.approx(share)
