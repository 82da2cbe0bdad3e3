"""What a process is told that serves a SavedModel."""

import os

import pytest

from train.serving.frozen import assume_frozen_weights

FROZEN = "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"


@pytest.fixture
def environment(monkeypatch):
    """An environment of its own, which TensorFlow does not see."""
    monkeypatch.setattr(os, "environ", {})
    return os.environ


@pytest.fixture
def save(tmp_path):
    """Saves a model of one variable; returns its folder."""
    import tensorflow as tf

    def save(dtype, output="value"):
        module = tf.Module()
        module.weight = tf.Variable(1, dtype=dtype)

        def answer(text):
            return {output: tf.ones_like(text, tf.float32) * tf.cast(module.weight, tf.float32)}

        module.answer = tf.function(answer, [tf.TensorSpec([None], tf.string, name="text")])
        tf.saved_model.save(module, tmp_path, {"serving_default": module.answer})
        return tmp_path

    return save


def test_kernels_stay_where_the_model_is_this_projects_in_bfloat16(save, environment):
    assume_frozen_weights(save("bfloat16"))
    assert environment[FROZEN] == "1"


def test_what_the_environment_says_counts(save, environment):
    environment[FROZEN] = "0"
    assume_frozen_weights(save("bfloat16"))
    assert environment[FROZEN] == "0"


def test_in_float32_nothing_is_said(save, environment):
    assume_frozen_weights(save("float32"))
    assert FROZEN not in environment


def test_of_another_model_nothing_is_known(save, environment):
    assume_frozen_weights(save("bfloat16", output="other"))
    assert FROZEN not in environment


def test_without_a_model(tmp_path, environment):
    assume_frozen_weights(tmp_path / "none")
    assert FROZEN not in environment
