import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.nlp.modeling import networks

from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from train.fit.predictor import Predictor
from train.objectives.model import build_span_model
from train.objectives.spans.decode import DecodeSettings
from train.objectives.spans.objective import SpanObjective
from train.tasks import squad
from train.tasks.forms import Spans

# Runs where nothing of this project can be imported.
PROGRAM = """
import json, sys
import tensorflow as tf, tensorflow_text
sys.path[:] = [entry for entry in sys.path if entry not in ("", {root!r})]
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
for name in ("keras_adapters", "train"):
    sys.modules[name] = None
model = tf.saved_model.load({folder!r})
outputs = model.signatures["serving_default"](**json.loads({inputs!r}))
answers = [answer.decode() for answer in outputs.pop("answer").numpy()]
print(json.dumps([answers, {{k: v.numpy().tolist() for k, v in outputs.items()}}]))
"""


@pytest.fixture(scope="module", params=["1.1", "2.0"])
def exported(request, preprocess_of, squad_folder, tmp_path_factory):
    """An untrained model, whose answers are arbitrary, in a SavedModel."""
    tf_keras.utils.set_random_seed(0)
    data = squad.read(squad_folder, request.param)
    encoder = networks.BertEncoderV2(
        vocab_size=30522,
        hidden_size=16,
        num_layers=2,
        num_attention_heads=2,
        max_sequence_length=64,
        type_vocab_size=2,
        inner_dim=32,
        initializer=tf_keras.initializers.TruncatedNormal(stddev=0.5),
    )
    encoder(encoder.inputs)
    model = build_span_model(encoder, Method(AdapterConfig(4, init_stddev=0.1)))

    def task_with(**decoding):
        decoding = DecodeSettings(**decoding)
        form = Spans(doc_stride=20, max_query_length=16)
        return SpanObjective(form, data, preprocess_of(64), decoding=decoding)

    predictions = task_with().answer(Predictor(model, tf.distribute.get_strategy(), 8))
    # In the middle, so that it answers some and not others.
    differences = sorted(prediction.null_difference for prediction in predictions)
    threshold = sum(differences[len(differences) // 2 - 1 :][:2]) / 2
    task = task_with(null_threshold=threshold)
    folder = tmp_path_factory.mktemp("export") / "saved_model"
    task.export(folder, model)
    limit = threshold if data.has_unanswerable else None
    answers = [prediction.answer(limit) for prediction in predictions]
    signatures = tf.saved_model.load(str(folder)).signatures
    return folder, signatures, model, data.dev, predictions, answers


def text_inputs(split):
    return {
        "question": [asked.text for asked in split.questions],
        "context": [split.contexts[asked.context] for asked in split.questions],
    }


def test_answers_are_those_of_the_decoder(exported):
    _, signatures, _, dev, predictions, answers = exported
    outputs = signatures["serving_default"](**text_inputs(dev))
    outputs = {name: tensor.numpy() for name, tensor in outputs.items()}
    assert [answer.decode() for answer in outputs["answer"]] == answers
    spans = [prediction.spans[0] for prediction in predictions]
    places = [
        (span.start, span.end) if answer else (0, 0)
        for span, answer in zip(spans, answers, strict=True)
    ]
    assert list(zip(outputs["start"], outputs["end"], strict=True)) == places
    np.testing.assert_allclose(outputs["score"], [span.score for span in spans], atol=1e-4)
    null_scores = [prediction.null_score for prediction in predictions]
    np.testing.assert_allclose(outputs["null_score"], null_scores, atol=1e-4)
    if len(answers) > 5:  # Version 2.0.
        assert 0 < answers.count("") < len(answers)


def test_odd_inputs_have_answers_too(exported):
    signature = exported[1]["serving_default"]
    contexts = [b"", b" \x00 ", b"a\x00b\xff c\xe2\x82", "x" * 300, "\u0301 \u200b", "🗼"]
    outputs = signature(
        question=tf.constant([b"\xff", "", "a", "b", "?" * 90, "c"]), context=contexts
    )
    for context, answer, start, end in zip(
        contexts, *(outputs[name].numpy() for name in ("answer", "start", "end")), strict=True
    ):
        text = context if isinstance(context, str) else context.decode(errors="replace")
        assert text[start:end] == answer.decode()
    assert np.all(np.isfinite(outputs["score"]))


def test_no_questions_have_no_answers(exported):
    _, signatures, *_ = exported
    none = tf.constant([], tf.string)
    outputs = signatures["serving_default"](question=none, context=none)
    expected = dict.fromkeys(("start", "end"), tf.int32) | {"answer": tf.string}
    expected |= dict.fromkeys(("score", "null_score"), tf.float32)
    assert {name: tensor.dtype for name, tensor in outputs.items()} == expected
    assert {tuple(tensor.shape) for tensor in outputs.values()} == {(0,)}
    names = ("input_word_ids", "input_mask", "input_type_ids")
    logits = signatures["tokens"](**{name: tf.zeros([0, 8], tf.int32) for name in names})
    assert {tuple(tensor.shape) for tensor in logits.values()} == {(0, 8)}


@pytest.mark.parametrize(("questions", "contexts"), [(1, 2), (2, 1), (0, 1), (1, 0)])
def test_a_question_without_its_context_is_an_error(exported, questions, contexts):
    texts = tf.constant(["a text"] * 2)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="there must be as many of `context` as of `question`"
    ):
        exported[1]["serving_default"](question=texts[:questions], context=texts[:contexts])


def test_tokens_give_logits(exported):
    _, signatures, model, *_ = exported
    ids = tf.constant([[101, 2054, 102, 2000, 2001, 102], [101, 2054, 102, 2000, 102, 0]])
    inputs = {
        "input_word_ids": ids,
        "input_mask": tf.cast(ids > 0, tf.int32),
        "input_type_ids": tf.constant([[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 0]]),
    }
    found, expected = signatures["tokens"](**inputs), model(inputs)
    assert set(found) == {"start_logits", "end_logits"}
    for name, logits in found.items():
        assert (logits.shape, logits.dtype) == ((2, 6), tf.float32)
        np.testing.assert_allclose(logits, expected[name], atol=1e-5)


@pytest.mark.parametrize("exported", ["2.0"], indirect=True)
def test_another_process_without_this_project_gives_the_same_answers(exported, tmp_path):
    folder, _, _, dev, predictions, answers = exported
    root = os.path.dirname(os.path.dirname(os.path.abspath(sys.modules["train"].__file__)))
    inputs = json.dumps(text_inputs(dev))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(root=root, folder=str(folder), inputs=inputs)],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": "", "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    found, outputs = json.loads(done.stdout)
    assert found == answers
    scores = [prediction.spans[0].score for prediction in predictions]
    np.testing.assert_allclose(outputs["score"], scores, atol=1e-4)
