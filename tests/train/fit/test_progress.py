import numpy as np
import tf_keras

from train.fit import progress


def test_counts_the_examples_of_timed_steps_only(monkeypatch):
    """Each step takes one second, each evaluation a hundred, by a clock that the test moves."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock[0])

    class Clock(tf_keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            clock[0] += 1

        def on_test_end(self, logs=None):
            clock[0] += 100

    inputs, labels = np.ones((24, 2), "float32"), np.ones((24, 1), "float32")
    model = tf_keras.Sequential([tf_keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    bar = progress.ThroughputBar(4, 2)
    assert bar.examples_per_second is None
    model.fit(
        inputs,
        labels,
        batch_size=4,
        epochs=2,
        validation_data=(inputs, labels),
        verbose=0,
        callbacks=[Clock(), bar],
    )
    # Twelve steps of 4 examples; the first three are not timed.
    assert bar.examples_per_second == 4


def test_shows_loss_and_dev_metrics(capsys):
    inputs, labels = np.ones((6, 2), "float32"), np.ones((6, 1), "float32")
    model = tf_keras.Sequential([tf_keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    bar = progress.ThroughputBar(3, 1)
    model.fit(inputs, labels, validation_data=(inputs, labels), verbose=0, callbacks=[bar])
    output = capsys.readouterr()
    assert "epoch 1/1" in output.err
    assert "loss=" in output.err
    assert "dev: loss" in output.out
    assert "mae" in output.out


def test_counts_steps_that_run_as_one(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock[0])
    bar = progress.ThroughputBar(8, 1)
    bar.set_params({"steps": 20})
    bar.on_epoch_begin(0)
    for last in (3, 7, 11, 15, 19):
        clock[0] += 2
        bar.on_train_batch_end(last, {"loss": 1.0})
    assert bar.examples_per_second == 4 * 8 / 2
