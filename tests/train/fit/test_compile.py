import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.nlp.modeling import networks

from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from train.fit.compile import compile_model
from train.fit.execution import Execution, plan_execution
from train.fit.packing import Packing
from train.fit.step import AccumulatingModel
from train.objectives.model import build_classifier


class Strategy:
    def __init__(self, replicas):
        self.num_replicas_in_sync = replicas


@pytest.fixture(autouse=True)
def cpu(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])


def on_cpu(parts, parts_at_once, steps=1):
    return Execution(parts, parts_at_once, True, steps, False)


@pytest.mark.parametrize(
    ("replicas", "batch", "arguments", "expected"),
    [
        (1, 32, {}, on_cpu(4, 2)),
        (1, 6, {}, on_cpu(1, 1)),
        (2, 8, {}, on_cpu(4, 2)),
        (2, 12, {}, on_cpu(1, 1)),
        (1, 32, {"gradient_accumulation_steps": 8}, on_cpu(8, 1)),
        (1, 32, {"gradient_accumulation_steps": 1}, on_cpu(1, 1)),
        (1, 6, {"steps_per_execution": 7}, on_cpu(1, 1, 7)),
    ],
)
def test_on_cpus_a_batch_is_computed_in_parts(replicas, batch, arguments, expected):
    assert plan_execution(Strategy(replicas), batch, **arguments) == expected


def test_on_gpus_a_batch_is_whole(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    assert plan_execution(Strategy(1), 32) == on_cpu(1, 1)


def test_on_tpus_lengths_are_fixed_and_steps_run_together(monkeypatch):
    monkeypatch.setattr(tf.distribute, "TPUStrategy", Strategy)
    expected = Execution(1, 1, False, 32, True)
    assert plan_execution(Strategy(8), 32) == expected
    received = plan_execution(Strategy(8), 32, 2, 5)
    assert received == dataclasses.replace(expected, parts=2, steps_per_execution=5)


def test_packed_batches_are_whole_and_have_few_shapes(monkeypatch):
    packed = Execution(packing=Packing(16, row_counts=4))
    assert plan_execution(Strategy(1), 32, packed_length=128) == packed
    assert plan_execution(Strategy(1), 32, 8, packed_length=128).parts == 8
    assert plan_execution(Strategy(1), 32, packed_length=512).packing.texts_per_row == 64
    monkeypatch.setattr(tf.distribute, "TPUStrategy", Strategy)
    expected = Execution(1, 1, False, 32, True, Packing(16, length=128, row_counts=1))
    assert plan_execution(Strategy(8), 32, packed_length=128) == expected


def test_on_one_gpu_steps_of_packed_texts_are_compiled_whole(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    assert plan_execution(Strategy(1), 32, packed_length=128).jit_compile
    assert not plan_execution(Strategy(2), 32, packed_length=128).jit_compile
    assert not plan_execution(Strategy(1), 32).jit_compile


@pytest.mark.parametrize(("replicas", "parts", "rule"), [(3, None, 3), (2, 3, 6), (1, 5, 5)])
def test_a_batch_that_cannot_be_shared(replicas, parts, rule):
    with pytest.raises(ValueError, match=f"--batch_size=8 must be a multiple of {rule}:"):
        plan_execution(Strategy(replicas), 8, parts)


def test_a_model_trains_as_it_is_told():
    tf_keras.utils.set_random_seed(0)
    inputs = {"input_mask": tf_keras.Input([3], dtype=tf.int32)}
    hidden = tf_keras.layers.Dense(8)(tf.cast(inputs["input_mask"], tf.float32))
    hidden = tf_keras.layers.Dropout(0.5)(hidden)
    model = AccumulatingModel(inputs, tf_keras.layers.Dense(1, name="out")(hidden))
    execution = Execution(2, 2, True, 40)  # More steps than there are.
    compile_model(
        model,
        {"out": tf_keras.losses.MeanSquaredError()},
        loss_weights={"out": 0.5},
        learning_rate=0.1,
        steps=20,
        seed=3,
        execution=execution,
    )
    assert (model.parts, model.parts_at_once, model.trim_parts) == (2, 2, True)
    data = {"input_mask": np.ones([12, 3], np.int32)}, np.ones([12, 1], np.float32)
    model.fit(tf.data.Dataset.from_tensor_slices(data).batch(4), steps_per_epoch=3, verbose=0)
    assert int(model.optimizer.iterations) == 3
    rate = model.optimizer._learning_rate
    np.testing.assert_allclose([rate(0), rate(2), rate(20)], [0.0, 0.1 * 18 / 20, 0.0], atol=1e-7)
    assert model.dropout_seeds.part == 0


@pytest.fixture
def trained(tmp_path):
    """Trains an adapted classifier to the fourth step, and saves it at the second."""

    def train(path=None, **arguments):
        tf_keras.utils.set_random_seed(0)
        encoder = networks.BertEncoderV2(
            50, hidden_size=16, num_layers=1, num_attention_heads=2, inner_dim=24, output_range=1
        )
        model = build_classifier(encoder, 3, Method.of(AdapterConfig(4)))
        loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        compile_model(model, loss, learning_rate=1e-2, steps=8, seed=0, **arguments)
        model.optimizer.build(model.trainable_variables)
        values = list(model.trainable_variables)
        checkpoint = tf.train.Checkpoint(trained=values, optimizer=model.optimizer)
        if path:
            checkpoint.restore(path)
        ids = np.random.default_rng(0).integers(1, 50, [4, 8, 8]).astype(np.int32)
        while (step := int(model.optimizer.iterations)) < 4:
            inputs = {name: ids[step] if "word" in name else ids[0] % 2 for name in model.input}
            model.train_on_batch(inputs, np.arange(8) % 3)
            if step == 1:
                path = checkpoint.write(str(tmp_path / "checkpoint"))
        return [variable.numpy() for variable in values], path

    return train


def test_a_step_that_is_compiled_whole_is_the_same_and_goes_on(trained):
    plain, _ = trained()
    whole = Execution(jit_compile=True)
    jitted, path = trained(execution=whole)
    for expected, received in zip(plain, jitted, strict=True):
        np.testing.assert_allclose(received, expected, atol=1e-5)
    resumed, _ = trained(path, execution=whole)
    for expected, received in zip(jitted, resumed, strict=True):
        np.testing.assert_array_equal(received, expected)
