import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.nlp.tools import squad_evaluate_v1_1, squad_evaluate_v2_0

from keras_adapters import load_adapter, save_adapter
from keras_adapters.converters.load import load_encoder
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from train.fit.loop import fit, plan_training
from train.fit.predictor import Predictor
from train.objectives.spans.decode import DecodeSettings, Prediction, Span
from train.objectives.spans.objective import SpanObjective
from train.tasks import squad
from train.tasks.forms import Spans

INPUTS = {"input_word_ids", "input_mask", "input_type_ids"}


@pytest.fixture(scope="module", params=["1.1", "2.0"])
def task(request, squad_folder, preprocess_of):
    return SpanObjective(
        Spans(doc_stride=20, max_query_length=16),
        squad.read(squad_folder, request.param),
        preprocess_of(64),
    )


def test_gather_in_a_dataset(task):
    indices = tf.data.Dataset.range(len(task.train)).batch(8)
    (inputs, labels) = next(iter(indices.map(task.train.gather).take(1)))
    assert set(inputs) == INPUTS
    assert {(tuple(x.shape), x.dtype) for x in inputs.values()} == {((8, 64), tf.int32)}
    assert set(labels) == {"start_logits", "end_logits"}
    assert {(tuple(x.shape), x.dtype) for x in labels.values()} == {((8,), tf.int32)}
    lengths = []
    for inputs, labels in indices.map(task.train.gather):
        lengths += inputs["input_mask"].numpy().sum(axis=1).tolist()
        assert len(labels["end_logits"]) == len(inputs["input_mask"])
    # But for the last [SEP].
    assert lengths == (task.train.lengths + 1).tolist()
    assert f"{len(task.train):,} windows" in task.describe()
    assert task.sizes()["dev"] == len(task._data.dev)


def test_the_loss_is_the_mean_of_both_ends_cross_entropies(task):
    logits = {
        name: tf_keras.layers.Input([3], name=name) for name in ("start_logits", "end_logits")
    }
    model = tf_keras.Model(logits, logits)
    model.compile(loss=task.loss, loss_weights=task.loss_weights)
    values = {"start_logits": np.log([[1.0, 2, 1]]), "end_logits": np.log([[1.0, 1, 8]])}
    labels = {"start_logits": np.array([1]), "end_logits": np.array([0])}
    results = model.evaluate(values, labels, verbose=0, return_dict=True)
    assert results["loss"] == pytest.approx((np.log(2) + np.log(10)) / 2, abs=1e-5)


def predictions_of(task):
    """Half of the questions right, and of the others half left unanswered."""
    predictions = []
    for number, asked in enumerate(task._data.dev.questions):
        gold = asked.answers[0].text if asked.answers else "wrong"
        spans = [Span(gold, 0, 1, 2.0), Span("wrong too", 0, 1, 1.0)]
        spans = spans if number % 2 else spans[::-1]
        predictions.append(Prediction(asked.id, tuple(spans), 3.0 * (number % 4 == 2)))
    return predictions


def test_files_are_what_the_official_scripts_read(task, squad_folder, tmp_path):
    predictions = predictions_of(task)
    metrics = task.score(predictions)
    task.write_predictions(tmp_path, predictions)
    written = (tmp_path / "predictions").iterdir()
    read = {path.name: json.loads(path.read_text("utf-8")) for path in written}
    names = {"predictions.json", "nbest_predictions.json"}
    if task._data.has_unanswerable:
        assert set(read) == names | {"null_odds.json"}
        dataset = json.loads((squad_folder / "dev-v2.0.json").read_text("utf-8"))["data"]
        scores = squad_evaluate_v2_0.evaluate(dataset, read["predictions.json"])
        expected = {"f1": scores["f1"] / 100, "exact_match": scores["exact"] / 100}
    else:
        assert set(read) == names
        dataset = json.loads((squad_folder / "dev-v1.1.json").read_text("utf-8"))["data"]
        scores = squad_evaluate_v1_1.evaluate(dataset, read["predictions.json"])
        expected = {"f1": scores["final_f1"], "exact_match": scores["exact_match"]}
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert 0 < metrics["exact_match"] < 1
    for id_, spans in read["nbest_predictions.json"].items():
        assert sum(span["probability"] for span in spans) == pytest.approx(1)
        assert read["predictions.json"][id_] in ("", spans[0]["text"])


@pytest.fixture(scope="module")
def years(tmp_path_factory):
    """Easy questions: only the year is a number."""
    names, towns = ("Anna", "Hugo", "Zoë", "Omar"), ("Oslo", "Zürich", "Cairo", "Boston", "Paris")
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("years")
    for split, count in {"train": 80, "dev": 16}.items():
        paragraphs = []
        for number in range(count):
            name, town, year = rng.choice(names), rng.choice(towns), str(rng.integers(1800, 2000))
            parts = rng.permutation([f"In {year} a war ended.", f"{name} left.", f"{town} burned."])
            context = " ".join(parts)
            answers = [{"text": year, "answer_start": context.index(year)}]
            asked = {"id": str(number), "question": "In which year?", "answers": answers}
            paragraphs.append({"context": context, "qas": [asked]})
        data = {"version": "1.1", "data": [{"title": "years", "paragraphs": paragraphs}]}
        (folder / f"{split}-v1.1.json").write_text(json.dumps(data))
    return squad.read(folder, "1.1")


def test_learns_to_answer(years, minilm, preprocess_of, tmp_path):
    tf_keras.utils.set_random_seed(0)
    task = SpanObjective(Spans(max_query_length=12), years, preprocess_of(32))
    encoder = load_encoder(minilm.checkpoint)
    model = task.build(encoder, Method(AdapterConfig(16)))
    frozen = [v.numpy() for v in model.non_trainable_variables]

    def score(model):
        predict = Predictor(model, tf.distribute.get_strategy(), 8)
        return task.evaluate(predict, task.splits)["dev"]["exact_match"]

    untrained = score(model)
    model.compile(
        optimizer=tf_keras.optimizers.Adam(3e-3),
        loss=task.loss,
        loss_weights=task.loss_weights,
    )
    strategy = tf.distribute.get_strategy()
    plan = plan_training(task.train, strategy, batch_size=8, epochs=3, seed=0)
    fit(model, task.train, strategy, plan)
    trained = score(model)
    assert untrained < 0.5
    assert trained > 0.9
    # Adapters stand alone on disk also with this head, and nothing else has changed.
    assert all(map(np.array_equal, frozen, model.non_trainable_variables))
    save_adapter(tmp_path / "adapter", model, encoder)
    fresh = load_encoder(minilm.checkpoint)
    other = task.build(fresh, Method(AdapterConfig(16)))
    load_adapter(tmp_path / "adapter", other, fresh)
    assert score(other) == trained


def test_decoding_is_the_one_asked_for(years, minilm, preprocess_of):
    decoding = DecodeSettings(n_best=3, max_answer_length=1)
    task = SpanObjective(Spans(max_query_length=12), years, preprocess_of(32), decoding=decoding)
    rng = np.random.default_rng(0)

    def predict(source):
        shape = (len(source), 32)
        return {name: rng.normal(size=shape) for name in ("start_logits", "end_logits")}

    answers = task.answer(predict)
    assert {len(answer.spans) for answer in answers} <= {1, 2, 3}
    assert all(" " not in span.text for answer in answers for span in answer.spans)
