"""Each task of GLUE, and SQuAD, from its published layout to predictions and a SavedModel."""

import json
import zipfile

import numpy as np
import pytest

from keras_adapters.adapter_file import read_metadata
from train.tasks.forms import Classification, Regression, Spans
from train.tasks.glue import SPECS
from train.tasks.table import TASKS

COUNT = {"train": 200, "dev": 37, "test": 19}
HEADERS = {
    "sst2": "sentence\tlabel",
    "mrpc": "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",
    "stsb": "index\tgenre\tsentence1\tsentence2\tscore",
    "qqp": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
    "mnli": "index\tpromptID\tsentence1\tsentence2\tlabel1\tgold_label",
    "qnli": "index\tquestion\tsentence\tlabel",
    "rte": "index\tsentence1\tsentence2\tlabel",
    "wnli": "index\tsentence1\tsentence2\tlabel",
}
TEST_HEADERS = {
    "cola": "index\tsentence",
    "sst2": "index\tsentence",
    "mrpc": "index\t#1 ID\t#2 ID\t#1 String\t#2 String",
    "stsb": "index\tgenre\tsentence1\tsentence2",
    "qqp": "id\tquestion1\tquestion2",
    "mnli": "index\tpromptID\tsentence1\tsentence2",
    "qnli": "index\tquestion\tsentence",
    "rte": "index\tsentence1\tsentence2",
    "wnli": "index\tsentence1\tsentence2",
}
FOLDERS = {
    "cola": "CoLA",
    "sst2": "SST-2",
    "mrpc": "MRPC",
    "stsb": "STS-B",
    "qqp": "QQP",
    "mnli": "MNLI",
    "qnli": "QNLI",
    "rte": "RTE",
    "wnli": "WNLI",
}
NAMES = {
    "mnli": ("entailment", "neutral", "contradiction"),
    "qnli": ("entailment", "not_entailment"),
    "rte": ("entailment", "not_entailment"),
    "stsb": ("0.000", "2.500", "5.000"),
}
ROWS = {
    "cola": lambda i, a, b, label: f"gj04\t{label}\t\t{a}",
    "sst2": lambda i, a, b, label: f"{a} \t{label}",
    "mrpc": lambda i, a, b, label: f"{label}\t{i}\t{i + 1}\t{a}\t{b}",
    "stsb": lambda i, a, b, label: f"{i}\tnews\t{a}\t{b}\t{label}",
    "qqp": lambda i, a, b, label: f"{i}\t1\t2\t{a}\t{b}\t{label}",
    "mnli": lambda i, a, b, label: f"{i}\tp\t{a}\t{b}\tneutral\t{label}",
}
TEST_ROWS = {
    "cola": lambda i, a, b: f"{i}\t{a}",
    "sst2": lambda i, a, b: f"{i}\t{a}",
    "mrpc": lambda i, a, b: f"{i}\t1\t2\t{a}\t{b}",
    "stsb": lambda i, a, b: f"{i}\tnews\t{a}\t{b}",
    "mnli": lambda i, a, b: f"{i}\tp\t{a}\t{b}",
}
TASKS_HERE = (*FOLDERS, "squad", "squad_v2")
# One of each form: one text, a pair, three classes, values, answers. The others export alike.
EXPORTED = ("sst2", "mrpc", "mnli", "stsb", "squad_v2")

PROGRAM = """
import json, sys
import tensorflow as tf
import tensorflow_text
from train import experiment
from train.config import RunConfig
from train.encoders.find import find_encoder
from train.fit.interruptions import Interruptions
from train.fit.strategies import make_strategy
from train.run_folder import RunFolder
from train.settle import settle
from train.tasks.forms import Spans
from train.tasks.table import TASKS

answers = {}
encoder, exported, tasks = find_encoder(sys.argv[1]), sys.argv[2].split(","), sys.argv[3:]
for task in tasks:
    form = TASKS[task].form
    span = isinstance(form, Spans)
    config = RunConfig.from_settings(
        task, data_dir="data", encoder=sys.argv[1], adapter_size=2, epochs=1,
        batch_size=8, max_seq_length=96 if span else 24, predict_test=True,
        checkpoint_minutes=60.0, gradient_accumulation_steps=1, output_dir=f"runs/{task}",
        export=task in exported,
    )
    config = settle(config, encoder)
    data = TASKS[task].read(config.files).with_unlabelled()
    strategy = make_strategy("one_device")
    with RunFolder(config, data.fingerprint(), encoder.checksum) as folder, Interruptions() as i:
        experiment.run(config, data, encoder, folder, strategy, i)
    if not config.keep.export:
        continue
    model = tf.saved_model.load(f"runs/{task}/saved_model")
    texts = [tf.constant(["w1 w2 w3", ""]), tf.constant(["w4 w5", "w6"])]
    names = ("question", "context") if span else ("text", "text_pair")
    inputs = dict(zip(names[: form.columns], texts))
    outputs = model.signatures["serving_default"](**inputs)
    answers[task] = {name: value.numpy().astype(str).tolist() for name, value in outputs.items()}
print("\\n" + json.dumps(answers))
"""


def sentence(random):
    return " ".join(f"w{number}" for number in random.integers(0, 60, random.integers(1, 9)))


def write_glue(folder):
    random = np.random.default_rng(0)
    for task, name in FOLDERS.items():
        (folder / name).mkdir(parents=True)
        labels = NAMES.get(task, (0, 1))
        splits = [("train", "train"), ("dev", "dev"), ("test", "test")]
        if task == "mnli":
            kinds = ("matched", "mismatched")
            splits = [("train", "train")]
            splits += [(part, f"{part}_{kind}") for part in ("dev", "test") for kind in kinds]
        for part, stem in splits:
            header = (TEST_HEADERS if part == "test" else HEADERS).get(task)
            lines = [header] if header else []
            for index in range(COUNT[part]):
                texts = sentence(random), sentence(random)
                if part == "test":
                    row = TEST_ROWS.get(task, lambda i, a, b: f"{i}\t{a}\t{b}")(index, *texts)
                else:
                    label = labels[random.integers(len(labels))]
                    row = ROWS.get(task, lambda i, a, b, label: f"{i}\t{a}\t{b}\t{label}")(
                        index, *texts, label
                    )
                lines.append(row)
            (folder / name / f"{stem}.tsv").write_text("\n".join(lines) + "\n")
    (folder / "AX").mkdir()
    rows = [f"{index}\t{sentence(random)}\t{sentence(random)}" for index in range(11)]
    text = "\n".join(["index\tsentence1\tsentence2", *rows]) + "\n"
    (folder / "AX" / "diagnostic.tsv").write_text(text)


def write_squad(folder):
    random = np.random.default_rng(0)
    for version in ("1.1", "2.0"):
        for split, count in {"train": 40, "dev": 9}.items():
            paragraphs = []
            for number in range(count):
                context = " ".join(sentence(random) for _ in range(30))
                answer = context.split()[random.integers(20)]
                answers = [{"text": answer, "answer_start": context.index(answer)}]
                impossible = version == "2.0" and number % 3 == 0
                asked = {"id": f"{split}{number}", "question": f"{answer} ?", "answers": answers}
                if version == "2.0":
                    asked |= {"answers": [] if impossible else answers, "is_impossible": impossible}
                paragraphs.append({"context": context, "qas": [asked]})
            content = {"version": version, "data": [{"title": "t", "paragraphs": paragraphs}]}
            (folder / f"{split}-v{version}.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def finished(make_tiny_folder, run_command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("every")
    encoder = make_tiny_folder(folder / "encoder", positions=96)
    write_glue(folder / "data")
    write_squad(folder / "data")
    done = run_command("-c", PROGRAM, str(encoder), ",".join(EXPORTED), *TASKS_HERE, cwd=folder)
    assert done.returncode == 0, done.err
    return folder, json.loads(done.out.splitlines()[-1])


def test_these_are_all_of_glue():
    assert set(FOLDERS) == set(SPECS)


@pytest.mark.parametrize("task", TASKS_HERE)
def test_trains_scores_and_predicts(task, finished):
    folder, _ = finished
    results = json.loads((folder / "runs" / task / "results.json").read_text())
    splits = {"dev", "dev_mismatched"} if task == "mnli" else {"dev"}
    assert set(results["metrics"]) == splits
    for metrics in results["metrics"].values():
        assert list(metrics)[: len(TASKS[task].metrics)] == list(TASKS[task].metrics)
        assert all(-1 <= metrics[name] <= 1 for name in TASKS[task].metrics)
    if isinstance(TASKS[task].form, Spans):
        path = folder / "runs" / task / "predictions" / "predictions.json"
        assert set(json.loads(path.read_text())) == {f"dev{number}" for number in range(9)}


@pytest.mark.parametrize("task", EXPORTED)
def test_exports(task, finished):
    folder, answers = finished
    if isinstance(TASKS[task].form, Classification):
        label_names = read_metadata(folder / "runs" / task / "adapter")["labels"]
        assert set(answers[task]["label"]) <= set(label_names)
        assert np.shape(answers[task]["probabilities"]) == (2, len(label_names))
    elif isinstance(TASKS[task].form, Regression):
        assert np.all(np.isfinite(np.array(answers[task]["value"], float)))
    else:
        assert len(answers[task]["answer"]) == 2


def test_the_submission_holds_all_that_the_site_takes(finished, run_command):
    folder, _ = finished
    for task in ("squad", "squad_v2"):
        assert (folder / "runs" / task / "results.json").exists()
    done = run_command("-m", "train.submission", "--runs=runs", "--output=glue.zip", cwd=folder)
    assert done.returncode == 0, done.err
    sizes = dict.fromkeys([*FOLDERS.values(), "MNLI-m", "MNLI-mm"], COUNT["test"]) | {"AX": 11}
    del sizes["MNLI"]
    with zipfile.ZipFile(folder / "runs" / "mnli" / "submission.zip") as archive:
        assert set(archive.namelist()) == {"MNLI-m.tsv", "MNLI-mm.tsv", "AX.tsv"}
    with zipfile.ZipFile(folder / "glue.zip") as archive:
        assert set(archive.namelist()) == {f"{name}.tsv" for name in sizes}
        for name, size in sizes.items():
            lines = archive.read(f"{name}.tsv").decode().splitlines()
            assert lines[0] == "index\tprediction"
            assert [line.split("\t")[0] for line in lines[1:]] == list(map(str, range(size)))
        inference = archive.read("MNLI-m.tsv").decode().splitlines()[1:]
        assert {line.split("\t")[1] for line in inference} <= set(NAMES["mnli"])
