import numpy as np
import pytest
import tensorflow as tf

from train.fit.optimization import make_optimizer


def test_rate_rises_over_a_tenth_and_falls_to_zero():
    schedule = make_optimizer(1e-2, 100)._learning_rate
    rates = [float(schedule(step)) for step in range(101)]
    assert rates[0] == 0
    assert rates[5] == pytest.approx(5e-3)
    assert max(rates) == rates[9] or max(rates) == rates[10]
    np.testing.assert_allclose(np.diff(rates[10:]), -1e-4, rtol=1e-3)
    assert rates[100] == 0


def test_a_run_too_short_to_warm_up_decays():
    schedule = make_optimizer(1e-2, 5)._learning_rate
    assert [float(schedule(step)) for step in (0, 5)] == pytest.approx([1e-2, 0])


def test_decay_spares_biases_and_layer_norms():
    optimizer = make_optimizer(1.0, 5)
    variables = [tf.Variable(1.0, name=name) for name in ("kernel", "bias", "gamma", "beta")]
    optimizer.build(variables)
    optimizer.apply_gradients([(tf.constant(0.0), variable) for variable in variables])
    assert [v.numpy() for v in variables] == pytest.approx([0.99, 1.0, 1.0, 1.0])


def test_gradients_are_clipped_together():
    optimizer = make_optimizer(1.0, 5)
    gradients = optimizer._clip_gradients([tf.constant([30.0]), tf.constant([40.0])])
    np.testing.assert_allclose(np.concatenate(gradients), [0.6, 0.8], rtol=1e-6)
