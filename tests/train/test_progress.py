import numpy as np
import tf_keras

from train import progress


def test_counts_the_examples_of_timed_steps_only(monkeypatch):
    """Each step takes one second, each evaluation a hundred, by a clock that the test moves."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock[0])

    class Clock(tf_keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            clock[0] += 1

        def on_test_end(self, logs=None):
            clock[0] += 100

    inputs, labels = np.ones((22, 2), "float32"), np.ones((22, 1), "float32")
    model = tf_keras.Sequential([tf_keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    bar = progress.ThroughputBar(22, 4)
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
    # Twelve steps of 4, 4, 4, 4, 4 and 2 examples an epoch; the first three are not timed.
    assert bar.examples_per_second == (2 * 22 - 3 * 4) / 9


def test_shows_loss_and_dev_metrics(capsys):
    inputs, labels = np.ones((6, 2), "float32"), np.ones((6, 1), "float32")
    model = tf_keras.Sequential([tf_keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    bar = progress.ThroughputBar(6, 4)
    model.fit(inputs, labels, validation_data=(inputs, labels), verbose=0, callbacks=[bar])
    output = capsys.readouterr()
    assert "epoch 1/1" in output.err
    assert "loss=" in output.err
    assert "dev: loss" in output.out
    assert "mae" in output.out
