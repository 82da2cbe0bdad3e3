import errno
import os

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from train.fit.logs import TensorBoardLogs
from train.fit.loop import DevMetrics
from train.fit.optimization import make_optimizer

STEPS = 60


@pytest.fixture
def train():
    def train(folder, epochs=2, spoil=None):
        model = tf_keras.Sequential([tf_keras.layers.Dense(1)])
        model.compile(make_optimizer(0.1, 2 * STEPS), "mse")
        ones = np.ones([STEPS, 2], np.float32), np.ones([STEPS, 1], np.float32)
        spoiler = tf_keras.callbacks.LambdaCallback(on_epoch_begin=spoil)
        callbacks = [DevMetrics(lambda: {"f1": 0.5}), spoiler, TensorBoardLogs(folder)]
        model.fit(*ones, batch_size=1, epochs=epochs, verbose=0, callbacks=callbacks)
        return int(model.optimizer.iterations)

    return train


def read(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [
            (e.step, float(tensor_util.make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)
        ]
        for tag in events.Tags()["tensors"]
    }


def test_curves_have_the_tags_and_steps_of_keras(train, tmp_path):
    train(tmp_path / "logs")
    curves = read(tmp_path / "logs" / "train")
    assert set(curves) == {"batch_loss", "epoch_loss", "epoch_learning_rate"}
    assert [step for step, _ in curves["batch_loss"]] == [50, 100]
    assert [step for step, _ in curves["epoch_loss"]] == [0, 1]
    rates = [rate for _, rate in curves["epoch_learning_rate"]]
    np.testing.assert_allclose(rates, [0.05, 0.0], atol=1e-6)
    assert read(tmp_path / "logs" / "validation") == {"epoch_f1": [(0, 0.5), (1, 0.5)]}


@pytest.mark.parametrize("place", ["logs", "logs/train"])
def test_a_file_in_its_place_is_one_error_before_training(place, train, tmp_path):
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_text("a file")
    with pytest.raises(OSError, match=r"the folder of logs, .*logs, cannot be written"):
        TensorBoardLogs(tmp_path / "logs")
    assert path.read_text() == "a file"


def test_a_disk_that_fills_costs_the_logs_alone(train, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise tf.errors.ResourceExhaustedError(None, None, os.strerror(errno.ENOSPC))

    def spoil(epoch, logs):
        if epoch:
            monkeypatch.setattr(tf.summary, "scalar", full)

    with pytest.warns(UserWarning, match="No space left .*goes on without") as warned:
        assert train(tmp_path / "logs", spoil=spoil) == 2 * STEPS
    assert len(warned) == 1
    assert [step for step, _ in read(tmp_path / "logs" / "train")["epoch_loss"]] == [0]


def test_a_folder_that_goes_away_costs_the_logs_alone(train, tmp_path):
    def spoil(epoch, logs):
        (tmp_path / "logs" / "train").rmdir()
        (tmp_path / "logs" / "train").write_text("a file")

    with pytest.warns(UserWarning, match="goes on without its logs"):
        assert train(tmp_path / "logs", epochs=1, spoil=spoil) == STEPS
