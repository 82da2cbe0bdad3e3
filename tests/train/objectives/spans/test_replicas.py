"""Replicas trim their batches to lengths of their own; they must answer as one device does."""

import json

import numpy as np
import pytest

from train.tasks import squad

# Trains on two virtual CPUs, and answers there and on one device.
PROGRAM = """
import json, sys
import tensorflow as tf
import tf_keras
from official.nlp.modeling import networks

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])

from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from keras_adapters.preprocessor import BertPreprocessor
from train.fit.loop import fit, plan_training
from train.fit.predictor import Predictor
from train.objectives.table import make_objective
from train.tasks import squad
from train.tasks.table import TASKS

objective = make_objective(
    TASKS["squad"], squad.read(sys.argv[1], "1.1"), BertPreprocessor(sys.argv[2], True, 96),
    pooling=None,
)


def build(strategy):
    with strategy.scope():
        encoder = networks.BertEncoderV2(
            vocab_size=200, hidden_size=16, num_layers=1, num_attention_heads=2,
            max_sequence_length=96, type_vocab_size=2, inner_dim=16,
        )
        encoder(encoder.inputs)
        return objective.build(encoder, Method(AdapterConfig(4)))


def score(model, strategy):
    predict = Predictor(model, strategy, 4)
    predictions = objective.predict_test(predict)
    return {
        "metrics": objective.evaluate(predict, objective.splits),
        "answers": {p.id: [(span.start, span.end) for span in p.spans[:3]] for p in predictions},
        "scores": [p.spans[0].score for p in predictions] + [p.null_score for p in predictions],
    }


two = tf.distribute.MirroredStrategy()
trained = build(two)
with two.scope():
    trained.compile("adam", objective.loss, loss_weights=objective.loss_weights)
before = [v.numpy() for v in trained.trainable_variables]
history = tf_keras.callbacks.History()
plan = plan_training(objective.train, two, batch_size=12, epochs=2, seed=0)
fit(trained, objective.train, two, plan, callbacks=[history])
moved = [bool((v.numpy() != old).any()) for v, old in zip(trained.trainable_variables, before)]
one = tf.distribute.get_strategy()
same = build(one)
same.set_weights(trained.get_weights())
print()
print(json.dumps([history.history["loss"], moved, score(trained, two), score(same, one)]))
"""


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """Questions on contexts of very unlike lengths, some of several windows; and a vocabulary."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("uneven")
    words = [f"w{number}" for number in range(150)]
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words]
    (folder / "vocab.txt").write_text("\n".join(vocab))
    for split, count in {"train": 37, "dev": 11}.items():
        paragraphs = []
        for number in range(count):
            context = " ".join(rng.choice(words, rng.choice([2, 9, 25, 50, 120])))
            answers = [{"text": context.split()[1], "answer_start": context.index(" ") + 1}]
            asked = {"id": str(number), "question": "w1 w2", "answers": answers}
            paragraphs.append({"context": context, "qas": [asked]})
        text = json.dumps({"data": [{"paragraphs": paragraphs}]})
        (folder / f"{split}-v1.1.json").write_text(text)
    return folder


def test_two_replicas_train_and_answer_as_one_device(uneven, run_command):
    done = run_command("-c", PROGRAM, str(uneven), str(uneven / "vocab.txt"), cwd=uneven)
    assert done.returncode == 0, done.err
    losses, moved, many, one = json.loads(done.out.splitlines()[-1])
    assert losses[1] < losses[0] < 2 * np.log(96)
    assert all(moved)
    assert many["metrics"] == one["metrics"]
    assert many["answers"] == one["answers"]
    assert len(many["answers"]) == len(squad.read(uneven, "1.1").dev)
    np.testing.assert_allclose(many["scores"], one["scores"], atol=1e-4)
