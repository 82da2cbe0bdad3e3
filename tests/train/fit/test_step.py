import numpy as np
import pytest
import tf_keras

from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from train.fit.dropout import DropoutSeeds
from train.fit.rematerialization import rematerialize
from train.objectives.model import build_classifier

LABELS = np.array([0, 1, 2, 1, 0, 2, 2, 1], np.int32)


@pytest.fixture
def batch():
    ids = np.random.default_rng(0).integers(1, 50, (8, 12)).astype(np.int32)
    ids[:4, 7:] = 0
    return {
        "input_word_ids": ids,
        "input_mask": (ids > 0).astype(np.int32),
        "input_type_ids": np.zeros_like(ids),
    }


@pytest.fixture
def trained(small_encoder, batch):
    """Variables after one step of plain SGD, so their change is the gradient."""

    def make(parts=1, dropout=0.0, remat=False, method="adapters", trim=False, at_once=1):
        tf_keras.utils.set_random_seed(3)
        encoder = small_encoder(output_dropout=dropout, attention_dropout=dropout)
        if remat:
            rematerialize(encoder)
        adapter = AdapterConfig(4) if method == "adapters" else None
        model = build_classifier(
            encoder, 3, method=Method.named(method, adapter), pooling="mean", dropout=dropout
        )
        loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(tf_keras.optimizers.SGD(1.0), loss)
        model.parts, model.parts_at_once, model.trim_parts = parts, at_once, trim
        model.dropout_seeds = DropoutSeeds(model, 0, model.optimizer.iterations)
        before = [v.numpy() for v in model.trainable_variables]
        logs = model.train_on_batch(batch, LABELS, return_dict=True)
        after = [v.numpy() for v in model.trainable_variables]
        return [a - b for a, b in zip(after, before, strict=True)], logs["loss"]

    return make


@pytest.mark.parametrize("method", ["adapters", "full"])
@pytest.mark.parametrize("parts", [2, 8])
def test_parts_have_the_gradient_of_the_whole(parts, method, trained):
    whole, whole_loss = trained(method=method)
    summed, loss = trained(parts=parts, method=method)
    assert loss == pytest.approx(whole_loss, rel=1e-5)
    assert max(np.abs(g).max() for g in whole) > 1e-3
    for expected, received in zip(whole, summed, strict=True):
        np.testing.assert_allclose(received, expected, atol=2e-6)


def test_parts_may_leave_out_their_padding(trained):
    whole, whole_loss = trained()
    summed, loss = trained(parts=2, trim=True)
    assert loss == pytest.approx(whole_loss, rel=1e-5)
    for expected, received in zip(whole, summed, strict=True):
        np.testing.assert_allclose(received, expected, atol=2e-6)


def test_parts_at_once_have_the_masks_of_parts_in_turn(trained):
    in_turn, in_turn_loss = trained(parts=4, dropout=0.3)
    at_once, loss = trained(parts=4, dropout=0.3, at_once=2)
    assert loss == pytest.approx(in_turn_loss, rel=1e-6)
    for expected, received in zip(in_turn, at_once, strict=True):
        np.testing.assert_allclose(received, expected, atol=2e-6)


@pytest.mark.parametrize("parts", [1, 2])
def test_rematerialisation_has_the_same_gradient_with_dropout(parts, trained):
    kept, kept_loss = trained(parts=parts, dropout=0.3)
    again, loss = trained(parts=parts, dropout=0.3, remat=True)
    assert loss == pytest.approx(kept_loss, rel=1e-6)
    for expected, received in zip(kept, again, strict=True):
        np.testing.assert_allclose(received, expected, atol=2e-6)


def test_optimiser_has_slots_for_what_trains_alone(small_encoder, batch):
    encoder = small_encoder()
    model = build_classifier(encoder, 3, method=Method.of(AdapterConfig(4)), pooling="mean")
    optimizer = tf_keras.optimizers.AdamW(1e-3)
    model.compile(optimizer, tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.train_on_batch(batch, LABELS)
    slots = [tuple(v.shape) for v in optimizer.variables if v.shape.rank]
    trained = [tuple(v.shape) for v in model.trainable_variables]
    assert sorted(slots) == sorted(2 * trained)
    assert len(trained) < len(model.variables)
