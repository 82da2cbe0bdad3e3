"""Layers of many tasks in each class of encoder, and what they are made of."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.nlp.modeling import networks

from keras_adapters import AdapterConfig, MultiTaskModel, adapt
from keras_adapters.model_garden.task_layers import Rows, StackedBottleneck, StackedHead
from keras_adapters.saving import collect


def trained(garden, encoder, method):
    adapt(encoder, method)
    model = garden.classifier(encoder)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign_add(0.3 * rng.normal(size=variable.shape))
    return model, collect(model, encoder, {"pooling": "pooler"})


@pytest.mark.parametrize("kind", ["bert", "functional", "albert", "mobilebert", "funnel", "fnet"])
def test_each_class_of_encoder_is_a_base(kind, garden, small_encoder, eight_tokens):
    def make():
        return small_encoder(networks.BertEncoder) if kind == "functional" else garden.build(kind)

    model = MultiTaskModel(make(), 3, 3, AdapterConfig(4))
    single = {}
    for name, method in {"a": AdapterConfig(4), "b": AdapterConfig(2), "c": "layer_norm"}.items():
        single[name], adapter = trained(garden, make(), method)
        model.add(name, adapter)
    compute = tf.function(model)
    for names in (["c", "a"], ["b", "b"]):
        found = compute({**eight_tokens, "task": tf.constant(names)})["logits"]
        for row, name in enumerate(names):
            expected = single[name](eight_tokens)[row]
            np.testing.assert_allclose(found[row], expected, rtol=0, atol=1e-5)
    base = make()(eight_tokens)["sequence_output"]
    found = model.encode({**eight_tokens, "task": tf.constant(["", ""])})["sequence_output"]
    np.testing.assert_array_equal(found, base)


def test_the_formula_of_a_stack_of_bottlenecks():
    rng = np.random.default_rng(0)
    rows = Rows()
    layer = StackedBottleneck(AdapterConfig(3, activation="relu"), rows, 4)
    layer.build(tf.TensorShape([None, None, 5]))
    shapes = layer.shapes(AdapterConfig(2), 5)
    weights = [{n: rng.normal(size=s).astype("float32") for n, s in shapes.items()} for _ in "ab"]
    for slot, held in zip((1, 3), weights, strict=True):
        for name, value in held.items():
            layer.stacks[name].write(slot, value)
    inputs = rng.normal(size=(3, 2, 5)).astype("float32")
    assert sum(v.shape.num_elements() for v in layer.weights) == 4 * (2 * 5 * 3 + 3 + 5)
    np.testing.assert_array_equal(layer(inputs), inputs)
    with rows.of(tf.constant([3, 0, 1])):
        found = layer(inputs)
    np.testing.assert_array_equal(found[1], inputs[1])
    for row, held in ((0, weights[1]), (2, weights[0])):
        hidden = np.maximum(inputs[row] @ held["down/kernel"] + held["down/bias"], 0)
        expected = inputs[row] + hidden @ held["up/kernel"] + held["up/bias"]
        np.testing.assert_allclose(found[row], expected, rtol=1e-5, atol=1e-6)


def test_rows_are_told_while_a_block_lasts_and_no_longer():
    rows = Rows()

    def fail():
        with rows.of(1):
            with rows.of(2):
                assert rows.slots == 2
            assert rows.slots == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert rows.slots is None


def test_a_head_masks_what_is_not_the_tasks_own():
    head = StackedHead(3, 2)
    head.build([None, 2])
    kernel = np.array([[1, 2], [3, 4]], np.float32)
    for name, value in {"kernel": kernel, "bias": np.ones(2, np.float32)}.items():
        head.stacks[name].write(1, value)
    head.stacks["count"].write(1, np.float32(2))
    head.stacks["pooling"].write(1, np.float32(0))
    pooled = {"pooler": tf.constant([[1.0, 1.0]] * 2), "mean": tf.constant([[2.0, 0.0]] * 2)}
    read, logits = head(pooled, slots=tf.constant([1, 0]))
    np.testing.assert_array_equal(read, [[1, 1], [2, 0]])
    lowest = tf.float32.min
    np.testing.assert_array_equal(logits, [[5, 7, lowest], [lowest, lowest, lowest]])
    assert tf_keras.activations.softmax(logits)[0, 2] == 0
