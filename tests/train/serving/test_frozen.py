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


def test_kernels_stay_where_the_model_is_this_projects(text_models, environment):
    assume_frozen_weights(text_models["text"])
    assert environment[FROZEN] == "1"


def test_what_the_environment_says_counts(text_models, environment):
    environment[FROZEN] = "0"
    assume_frozen_weights(text_models["text"])
    assert environment[FROZEN] == "0"


def test_of_another_model_nothing_is_known(tmp_path, environment):
    import tensorflow as tf

    module = tf.Module()
    module.f = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([None], name="x")])
    tf.saved_model.save(module, tmp_path, {"serving_default": module.f})
    assume_frozen_weights(tmp_path)
    assert FROZEN not in environment


def test_without_a_model(tmp_path, environment):
    assume_frozen_weights(tmp_path / "none")
    assert FROZEN not in environment
