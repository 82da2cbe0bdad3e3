"""What a process is told that serves a SavedModel."""

import os

import pytest

from train.serving.model import only_serve

FROZEN = "TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"


@pytest.fixture
def environment(monkeypatch):
    """An environment of its own, which TensorFlow does not see."""
    monkeypatch.setattr(os, "environ", {})
    return os.environ


def test_kernels_stay_where_the_model_is_this_projects(text_models, environment):
    only_serve(text_models["text"])
    assert environment[FROZEN] == "1"


def test_what_the_environment_says_counts(text_models, environment):
    environment[FROZEN] = "0"
    only_serve(text_models["text"])
    assert environment[FROZEN] == "0"


def test_of_another_model_nothing_is_known(tmp_path, environment):
    import tensorflow as tf

    module = tf.Module()
    module.f = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([None], name="x")])
    tf.saved_model.save(module, tmp_path, {"serving_default": module.f})
    only_serve(tmp_path)
    assert FROZEN not in environment


def test_no_folder(tmp_path, environment):
    with pytest.raises(OSError, match="none is not a folder"):
        only_serve(tmp_path / "none")
    assert FROZEN not in environment
