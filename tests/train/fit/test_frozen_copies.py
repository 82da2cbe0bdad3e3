import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from train.fit.compile import compile_model
from train.fit.frozen_copies import FrozenCopies
from train.objectives.model import build_classifier

LABELS = np.array([0, 1, 2, 1], np.int32)


@pytest.fixture
def batch():
    ids = np.random.default_rng(0).integers(1, 50, (4, 8)).astype(np.int32)
    return {
        "input_word_ids": ids,
        "input_mask": np.ones_like(ids),
        "input_type_ids": np.zeros_like(ids),
    }


@pytest.fixture
def make(small_encoder):
    def make(method="adapters", precision="mixed_bfloat16"):
        tf_keras.mixed_precision.set_global_policy(precision)
        tf_keras.utils.set_random_seed(3)
        adapter = AdapterConfig(4) if method == "adapters" else None
        model = build_classifier(small_encoder(), 3, method=Method.named(method, adapter))
        loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        compile_model(model, loss, learning_rate=1e-2, steps=4, seed=0)
        return model

    yield make
    tf_keras.mixed_precision.set_global_policy("float32")


def test_training_is_the_same_to_the_bit(make, batch):
    values = []
    for copies in (True, False):
        model = make()
        assert len(model.frozen_copies) > 10
        if not copies:
            model.frozen_copies = None
        losses = [model.train_on_batch(batch, LABELS) for _ in range(2)]
        values.append([losses, model.predict(batch, verbose=0), *model.get_weights()])
    for one, other in zip(*values, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_step_reads_no_frozen_kernel_but_its_copy(make, batch):
    model = make()
    step = tf.function(model.train_step).get_concrete_function((batch, LABELS))
    read = {id(tensor) for tensor in step.captured_inputs}
    frozen = [own for _, own, _ in model.frozen_copies._pairs]
    assert frozen
    assert not any(id(own.handle) in read for own in frozen)


def test_outside_of_a_step_variables_are_as_ever(make, batch):
    model = make()
    variables = {v.ref(): v.true_dtype for v in model.variables if hasattr(v, "true_dtype")}
    model.train_on_batch(batch, LABELS)
    assert set(variables.values()) == {tf.float32}
    assert all(v.deref().true_dtype == tf.float32 for v in variables)


def test_several_may_be_inside(make):
    copies = make().frozen_copies
    variable = copies._pairs[0][0]
    with copies:
        with copies:
            pass
        assert variable.true_dtype == tf.bfloat16
    assert variable.true_dtype == tf.float32


@pytest.mark.parametrize(
    ("method", "precision"), [("full", "mixed_bfloat16"), ("adapters", "float32")]
)
def test_there_is_none_of_what_trains_or_is_not_cast(method, precision, make):
    assert len(make(method, precision).frozen_copies) == 0


def test_state_that_is_not_trained_is_not_copied():
    norm = tf_keras.layers.BatchNormalization(dtype="mixed_bfloat16")
    model = tf_keras.Sequential([tf_keras.Input([4]), norm])
    assert len(FrozenCopies(model)) == 0
