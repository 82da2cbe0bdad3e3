import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from train.fit.dropout import DropoutSeeds

ONES = tf.ones([64, 32])


@pytest.fixture
def make():
    def make(seed=0):
        inputs = tf_keras.Input([32])
        first = tf_keras.layers.Dropout(0.25)(inputs)
        outputs = [first, tf_keras.layers.Dropout(0.25)(inputs)]
        model = tf_keras.Model(inputs, outputs)
        step = tf.Variable(0, dtype=tf.int64)
        return model, DropoutSeeds(model, seed, step), step

    return make


def masks(model):
    return [output.numpy() for output in model(ONES, training=True)]


def test_masks_follow_from_seed_layer_and_step_alone(make):
    model, _, step = make()
    first = masks(model)
    assert not np.array_equal(*first)  # Each layer has its own.
    assert all(map(np.array_equal, first, masks(model)))
    step.assign(1)
    assert not any(map(np.array_equal, first, masks(model)))
    other, _, _ = make()
    assert all(map(np.array_equal, first, masks(other)))
    other, _, _ = make(seed=1)
    assert not any(map(np.array_equal, first, masks(other)))


def test_each_part_of_a_batch_has_its_own(make):
    model, seeds, _ = make()
    first = masks(model)
    seeds.part = 1
    assert not any(map(np.array_equal, first, masks(model)))


def test_drops_at_the_rate_and_scales_the_rest(make):
    for mask in masks(make()[0]):
        assert set(np.unique(mask)) == {0.0, np.float32(1 / 0.75)}
        assert np.mean(mask == 0) == pytest.approx(0.25, abs=0.04)


def test_is_off_without_training(make):
    for output in make()[0](ONES, training=False):
        np.testing.assert_array_equal(output, ONES)
