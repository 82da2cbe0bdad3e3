import inspect

import numpy as np
import pytest

from keras_adapters.methods.method import Method
from keras_adapters.preprocessor import BertPreprocessor
from train.fit.step import AccumulatingModel
from train.objectives.objective import Objective
from train.objectives.spans.objective import SpanObjective
from train.objectives.table import make_objective
from train.objectives.text.objective import TextObjective
from train.tasks import squad
from train.tasks.data import Examples, TaskData
from train.tasks.forms import Classification, Regression, Spans
from train.tasks.task import Task

ANSWER = squad.Answer("b", 2)
QUESTIONS = squad.Questions(["a b a"], [squad.Question(str(n), "a", 0, (ANSWER,)) for n in "12"])
TEXTS = Examples((["a", "b b"],), np.array([0, 1], np.int32))
VALUES = Examples((["a", "b b"],), np.array([0, 1], np.float32))
CLASSES = TaskData(("x", "y"), TEXTS, TEXTS, unlabelled={"RTE": Examples(TEXTS.columns, None)})
# The task, its data, and the pooling.
CASES = {
    "classification": (Task(None, Classification(), ("accuracy",)), CLASSES, "pooler"),
    "mean": (Task(None, Classification(), ("accuracy",)), CLASSES, "mean"),
    "regression": (
        Task(None, Regression((0, 5), 1), ("pearson",)),
        TaskData((), VALUES, VALUES, unlabelled={"STS-B": Examples(TEXTS.columns, None)}),
        "pooler",
    ),
    "spans": (
        Task(None, Spans(max_query_length=4), ("f1", "exact_match")),
        squad.SquadData(QUESTIONS, QUESTIONS, False),
        None,
    ),
}


@pytest.fixture(scope="module")
def preprocess_of(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b"]))
    return lambda length: BertPreprocessor(path, lower_case=True, seq_length=length)


def members(cls):
    return {name for name in vars(cls) if not name.startswith("_")}


@pytest.mark.parametrize("cls", [TextObjective, SpanObjective])
def test_implementations_have_every_member_with_the_protocols_parameters(cls):
    for name in members(Objective):
        wanted, found = getattr(Objective, name), getattr(cls, name)
        if isinstance(wanted, property):
            assert isinstance(found, property), name
        else:
            parameters = [list(inspect.signature(f).parameters) for f in (wanted, found)]
            assert parameters[0] == parameters[1], name


@pytest.mark.parametrize("name", CASES)
def test_what_the_protocol_says(name, preprocess_of, small_encoder, tmp_path):
    task, data, pooling = CASES[name]
    objective = make_objective(task, data, preprocess_of(12), pooling=pooling)
    assert objective.splits == ("dev",)
    assert objective.output_range == (1 if pooling == "pooler" else None)
    assert objective.sizes() == {"train": 2, "dev": 2, "test": 0}
    assert "2 train" in objective.describe()
    assert isinstance(objective.metadata(), dict)
    model = objective.build(small_encoder(), Method.named("layer_norm"))
    assert isinstance(model, AccumulatingModel)
    assert not model.optimizer

    def predict(source):
        inputs, labels = source.gather(np.arange(len(source), dtype=np.int32))
        outputs = model(inputs)
        loss = objective.loss
        for key in loss if isinstance(loss, dict) else ():
            assert np.isfinite(loss[key](labels[key], outputs[key]))
        if not isinstance(loss, dict):
            assert np.isfinite(loss(labels, outputs))
        return {k: v.numpy() for k, v in outputs.items()} if name == "spans" else outputs.numpy()

    predict(objective.train)
    metrics = objective.evaluate(predict, objective.splits)
    assert list(metrics["dev"])[: len(task.metrics)] == list(task.metrics)
    objective.write_predictions(tmp_path, objective.predict_test(predict))
    assert list((tmp_path / "predictions").iterdir())


@pytest.mark.parametrize("pooling", ["pooler", "mean", "auto"])
def test_pooling_with_spans_is_an_error(pooling, preprocess_of):
    task, data, _ = CASES["spans"]
    with pytest.raises(ValueError, match=f"--pooling goes with .* Received: '{pooling}'"):
        make_objective(task, data, preprocess_of(12), pooling=pooling)


@pytest.mark.parametrize("pooling", [None, "auto", "max"])
def test_a_head_that_pools_needs_a_pooling(pooling, preprocess_of):
    task, data, _ = CASES["classification"]
    with pytest.raises(ValueError, match="--pooling must be one of pooler, mean"):
        make_objective(task, data, preprocess_of(12), pooling=pooling)


@pytest.mark.parametrize(
    ("name", "given", "used"),
    [("mean", None, 0.1), ("mean", 0.5, 0.5), ("spans", None, 0.0), ("spans", 0.3, 0.3)],
)
def test_dropout_before_the_head(name, given, used, preprocess_of, small_encoder):
    task, data, pooling = CASES[name]
    objective = make_objective(task, data, preprocess_of(12), pooling=pooling, head_dropout=given)
    model = objective.build(small_encoder(), Method.named("full"))
    assert model.get_layer("head_dropout").rate == used


def test_sequences_too_short_for_a_question_are_an_error(preprocess_of):
    task, data, _ = CASES["spans"]
    with pytest.raises(ValueError, match=r"--max_seq_length must be at least 8, .*Received: 7"):
        make_objective(task, data, preprocess_of(7), pooling=None)
