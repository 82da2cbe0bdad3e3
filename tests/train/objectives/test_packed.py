import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from keras_adapters.preprocessor import BertPreprocessor
from train.fit.execution import Execution
from train.fit.input_pipeline import batches
from train.fit.packing import Packing, lay_out
from train.fit.predictor import Predictor
from train.objectives.model import build_classifier
from train.objectives.packed import pack_classifier
from train.objectives.text.source import TextSource
from train.tasks.data import Examples

COUNT, BATCH = 64, 32
WORDS = [f"w{index}" for index in range(46)]
PER_ROW = 16
METHODS = {
    "adapters": Method.of(AdapterConfig(4, init_stddev=0.1)),
    "parallel adapters": Method.of(AdapterConfig(4, form="parallel", init_stddev=0.1)),
    "full": Method.named("full"),
    "top_layers": Method.named("top_layers", top_layers=1),
}


@pytest.fixture
def source(tmp_path):
    """Pairs of texts of 3 to 32 tokens together."""
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]))
    random = np.random.default_rng(0)

    def column(longest):
        return [" ".join(random.choice(WORDS, random.integers(0, longest))) for _ in range(COUNT)]

    examples = Examples((column(30), column(9)), np.arange(COUNT, dtype=np.int32) % 3)
    return TextSource(examples, BertPreprocessor(path, lower_case=True, seq_length=32))


@pytest.fixture
def make(small_encoder):
    """Makes a classifier, and what its layers make of packed texts."""

    def make(method="adapters", pooling="mean", **kwargs):
        encoder = small_encoder(output_range=1 if pooling == "pooler" else None, **kwargs)
        model = build_classifier(encoder, 3, METHODS[method], pooling=pooling)
        return model, pack_classifier(model, encoder, PER_ROW)

    return make


ORDER = np.arange(COUNT, dtype=np.int32).reshape(-1, BATCH)


def packed_batches(source, parts=1):
    layout = lay_out(source.lengths, ORDER, Packing(PER_ROW, row_counts=4), parts)
    return batches(source, ORDER, tf.distribute.get_strategy(), layout=layout)


def both(source):
    alone = batches(source, ORDER, tf.distribute.get_strategy())
    return zip(packed_batches(source), alone, strict=True)


@pytest.mark.parametrize(
    ("method", "pooling", "embedding_width"),
    [
        *(("adapters", pooling, width) for pooling in ("mean", "pooler") for width in (None, 8)),
        ("parallel adapters", "mean", None),
        ("full", "pooler", None),
        ("top_layers", "pooler", None),
    ],
)
def test_packed_texts_get_what_each_gets_alone(embedding_width, method, pooling, source, make):
    model, packed_model = make(method, pooling, embedding_width=embedding_width)
    trained = packed_model.trainable_variables
    assert list(map(id, trained)) == list(map(id, model.trainable_variables))
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for (packed, packed_labels), (alone, labels) in both(source):
        assert packed["input_word_ids"].shape[0] < BATCH
        np.testing.assert_array_equal(packed_labels, labels)
        with tf.GradientTape(persistent=True) as tape:
            outputs, expected = packed_model(packed), model(alone)
            value, expected_value = loss(labels, outputs), loss(labels, expected)
        np.testing.assert_allclose(outputs, expected, atol=1e-6)
        gradients = tape.gradient(value, trained)
        expected_gradients = tape.gradient(expected_value, trained)
        assert max(np.abs(tf.convert_to_tensor(g)).max() for g in expected_gradients) > 1e-3
        for received, wanted in zip(gradients, expected_gradients, strict=True):
            np.testing.assert_allclose(
                tf.convert_to_tensor(received), tf.convert_to_tensor(wanted), atol=1e-6
            )


def test_a_text_does_not_see_its_neighbours(source, make):
    _, packed_model = make()
    (inputs, _), _ = next(iter(both(source)))
    before = packed_model(inputs)
    of_first = inputs["text_numbers"] == 1
    changed = {**inputs, "input_word_ids": tf.where(of_first, 7, inputs["input_word_ids"])}
    after = packed_model(changed)
    assert np.abs(after[0] - before[0]).max() > 1e-3
    np.testing.assert_array_equal(after[1:], before[1:])


@pytest.mark.parametrize("pooling", ["mean", "pooler"])
def test_parts_have_the_gradient_of_the_whole(pooling, source, make):
    changes = []
    for parts in (1, 4):
        _, model = make(pooling=pooling, output_dropout=0.0, attention_dropout=0.0)
        model.get_layer("head_dropout").rate = 0.0
        loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(tf_keras.optimizers.SGD(1.0), loss)
        model.parts = parts
        before = [v.numpy() for v in model.trainable_variables]
        model.fit(packed_batches(source, parts), steps_per_epoch=1, verbose=0)
        after = [v.numpy() for v in model.trainable_variables]
        changes.append([a - b for a, b in zip(after, before, strict=True)])
    for whole, parted in zip(*changes, strict=True):
        np.testing.assert_allclose(parted, whole, atol=2e-6)


@pytest.mark.parametrize(("batch_size", "length"), [(7, None), (100, 32)])
def test_predicts_every_example_once_in_order(length, batch_size, source, make):
    model, packed_model = make(pooling="pooler")
    strategy = tf.distribute.get_strategy()
    expected = Predictor(model, strategy, 64)(source)
    execution = Execution(packing=Packing(PER_ROW, length, row_counts=4))
    outputs = Predictor(packed_model, strategy, batch_size, execution)(source)
    np.testing.assert_allclose(outputs, expected, atol=1e-6)
    assert len(np.unique(expected[:, 0])) > 50


def test_in_bfloat16_within_its_rounding(source, make):
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    for pooling in ("mean", "pooler"):
        model, packed_model = make(pooling=pooling)
        (packed, _), (alone, _) = next(iter(both(source)))
        outputs = packed_model(packed)
        assert outputs.dtype == tf.float32
        np.testing.assert_allclose(outputs, model(alone), atol=2e-2)
