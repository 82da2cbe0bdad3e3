"""Activations are told apart by what they compute, and by nothing else."""

import functools
import inspect

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.modeling import activations, tf_utils
from official.nlp.modeling import networks

from keras_adapters.activations import activation_name
from keras_adapters.model_garden.hosts.host import activation_of


def of_layer(function):
    return activation_of(tf_keras.layers.Activation(function, name="act"))


@pytest.mark.parametrize(
    ("name", "functions"),
    [
        ("linear", ["linear", None, activations.identity, lambda x: x]),
        ("relu", ["relu", tf.nn.relu, tf_keras.layers.ReLU(), lambda x: tf.maximum(x, 0.0)]),
        ("relu6", [activations.relu6, tf_keras.layers.ReLU(max_value=6.0)]),
        ("gelu", ["gelu", tf.nn.gelu, functools.partial(tf.nn.gelu, approximate=False)]),
        (
            "gelu_tanh",
            [
                activations.gelu,
                tf_utils.get_activation("gelu"),
                functools.partial(tf.nn.gelu, approximate=True),
                inspect.signature(networks.BertEncoderV2).parameters["inner_activation"].default,
                inspect.signature(networks.BertEncoder).parameters["inner_activation"].default,
            ],
        ),
        ("swish", ["swish", tf.nn.silu, activations.simple_swish, lambda x: x * tf.sigmoid(x)]),
        ("hard_swish", [activations.hard_swish]),
        ("mish", ["mish", activations.mish]),
        ("elu", ["elu", tf.nn.elu]),
        ("selu", ["selu", tf.nn.selu]),
        ("tanh", ["tanh", tf.tanh, tf.function(tf.tanh)]),
        ("sigmoid", ["sigmoid", tf.sigmoid]),
        ("softplus", ["softplus", tf.math.softplus]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_names_of_activations(name, functions):
    assert {of_layer(function) for function in functions} == {name}


def test_an_activations_precision_is_no_part_of_it():
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    assert of_layer(tf_keras.layers.Activation("gelu")) == "gelu"


def test_other_activations_are_told_apart_by_what_they_compute():
    def squared(x):
        return tf.square(tf.nn.relu(x))

    leaky = [functools.partial(tf.nn.leaky_relu, alpha=alpha) for alpha in (0.1, 0.101, 0.2)]
    clipped = [functools.partial(tf_keras.activations.relu, max_value=m) for m in (5.0, 20.0)]
    others = [squared, "softsign", "exponential", "hard_sigmoid", tf.math.erf, *leaky, *clipped]
    names = [of_layer(function) for function in others]
    assert all(name.startswith("function ") for name in names)
    assert len(set(names)) == len(names)
    assert of_layer(lambda x: tf.nn.relu(x) ** 2) == of_layer(squared)


def test_last_bits_make_no_other_activation():
    rng = np.random.default_rng(0)

    def shaken(function):
        return lambda x: function(x) * (1 + 1e-7 * rng.uniform(-1, 1, size=x.shape))

    def squared(x):
        return np.maximum(x, 0) ** 2

    assert {activation_name(shaken(squared)) for _ in range(20)} == {activation_name(squared)}
    assert {activation_name(shaken(np.tanh)) for _ in range(20)} == {"tanh"}


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: 1 / 0, "'act': an activation must be a function of one tensor: division"),
        (lambda x, y: x, "an activation must be a function of one tensor"),
        (tf.reduce_sum, r"must return a tensor of its input's shape. Received: \[\] of \[263\]"),
    ],
    ids=["raises", "takes two", "reduces"],
)
def test_what_is_no_activation_is_refused(function, message):
    with pytest.raises(ValueError, match=message):
        of_layer(function)
