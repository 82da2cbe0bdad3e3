import json
import os
import subprocess
import sys
import types

import numpy as np
import pytest
import safetensors.numpy

WORDS = [f"w{index}" for index in range(60)]


@pytest.fixture(scope="session")
def run_command():
    """Runs a Python command line where `train` can be imported, from another folder."""

    # As a user has it, who has not asked for silence.
    ours = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    ours["PYTHONPATH"] = os.pathsep.join(sys.path)

    def command(*arguments, cwd, wait=True, environment=None, **options):
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        process = subprocess.Popen(
            [sys.executable, *arguments],
            text=True,
            cwd=cwd,
            env={**ours, **(environment or {})},
            **options,
        )
        if not wait:
            return process
        process.out, process.err = process.communicate()
        return process

    return command


BASE = 1_000_000
HIDDEN, LAYERS, HEAD = 100, 4, 400


def trained_parameters(config):
    """Parameters that train, as they would be of a small encoder."""
    method = config.method
    if method is None or method.name == "full":
        return BASE + HEAD
    if method.name == "top_layers":
        return method.top_layers * BASE // 5 + HEAD
    norms = 0 if method.trains == "nothing" else 2 * HIDDEN * (2 * LAYERS + 1)
    size = method.insertion.size if method.insertion else 0
    adapters = 2 * LAYERS * (2 * size * HIDDEN + HIDDEN + size) if size else 0
    return adapters + norms + HEAD


@pytest.fixture(scope="session")
def write_run():
    """Writes the folder of a finished run: true settings, and scores as given."""
    from train.config import RunConfig
    from train.tasks.table import TASKS

    def write_run(
        folder,
        task="reuters_r8",
        dev=0.5,
        test=None,
        insertion=None,
        results=None,
        kept=None,
        **settings,
    ):
        if settings.get("method", "adapters") == "adapters":
            settings.setdefault("adapter_size", 64)
        settings = {"learning_rate": 1e-3, "epochs": 3, **settings}
        config = RunConfig.from_settings(task, output_dir=str(folder), **settings)
        trained = trained_parameters(config)
        total = BASE + HEAD if trained > BASE else BASE + HEAD + trained
        names = TASKS[task].metrics
        scores = {"dev": dev} if test is None else {"dev": dev, "test": test}
        content = config.to_json_dict() | {"data": 7, "encoder": config.model.encoder}
        content |= {"encoder_files": "f"}
        content["method"]["insertion"] = content["method"]["insertion"] and (
            content["method"]["insertion"] | (insertion or {})
        )
        finished = {
            "task": task,
            "method": config.method.name,
            "adapter_size": settings.get("adapter_size"),
            "encoder": config.model.encoder,
            "seed": config.fit.seed,
            "parameters": {
                "base": BASE,
                "total": total,
                "trained": trained,
                "trained_percent": 100 * trained / total,
            },
            "metrics": {split: dict.fromkeys(names, score) for split, score in scores.items()},
            "examples": {"train": 100, "test": 0} | dict.fromkeys(scores, 50),
            "adapter_bytes": 4 * trained,
            "examples_per_second": 10.0,
            "peak_memory_bytes": 10**9,
            "seconds": 60.0,
            "versions": {"tensorflow": "2.20.0"},
        }
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(content | (kept or {})))
        (folder / "results.json").write_text(json.dumps(finished | (results or {})))
        return folder

    return write_run


COMMANDS = """
import contextlib, io, json, sys
from absl import flags
from train import run

answers = []
for arguments in json.loads(sys.argv[1]):
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    flags.FLAGS(["train.run", *arguments])
    answer = {"error": None}
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            run.main(["train.run"])
        except SystemExit as error:
            answer["error"] = str(error)
    answers.append({**answer, "out": out.getvalue()})
print("\\n" + json.dumps(answers))
"""


@pytest.fixture(scope="session")
def run_in_turn(run_command):
    """Runs `train.run` with several lists of flags, one after the other, in one process.

    Returns, for each, what it printed, `out`, and its error in words or `None`.
    """

    def run(*commands, cwd):
        done = run_command("-c", COMMANDS, json.dumps(commands), cwd=cwd)
        assert done.returncode == 0, done.err
        return [types.SimpleNamespace(**each) for each in json.loads(done.out.splitlines()[-1])]

    return run


@pytest.fixture(scope="session")
def make_tiny_folder():
    """Writes a Hugging Face folder of a BERT so small that a process trains it in a moment."""

    def make(folder, dropout=0.1, positions=32):
        vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
        width, inner = 16, 32
        config = {
            "model_type": "bert",
            "vocab_size": len(vocab),
            "hidden_size": width,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": inner,
            "max_position_embeddings": positions,
            "type_vocab_size": 2,
            "hidden_act": "gelu",
            "hidden_dropout_prob": dropout,
            "attention_probs_dropout_prob": dropout,
        }
        shapes = {
            "embeddings.word_embeddings.weight": (len(vocab), width),
            "embeddings.position_embeddings.weight": (positions, width),
            "embeddings.token_type_embeddings.weight": (2, width),
            "pooler.dense": (width, width),
        }
        norms = ["embeddings.LayerNorm"]
        for layer in ("encoder.layer.0", "encoder.layer.1"):
            for name in ("self.query", "self.key", "self.value", "output.dense"):
                shapes[f"{layer}.attention.{name}"] = (width, width)
            shapes[f"{layer}.intermediate.dense"] = (inner, width)
            shapes[f"{layer}.output.dense"] = (width, inner)
            norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
        random = np.random.default_rng(0)
        tensors = {}
        for name, shape in shapes.items():
            values = random.normal(0, 0.3, shape).astype(np.float32)
            if name.endswith(".weight"):
                tensors[name] = values
            else:
                tensors |= {f"{name}.weight": values, f"{name}.bias": values[:, 0].copy()}
        for name in norms:
            tensors[f"{name}.weight"] = np.ones(width, np.float32)
            tensors[f"{name}.bias"] = np.zeros(width, np.float32)
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "vocab.txt").write_text("\n".join(vocab))
        safetensors.numpy.save_file(tensors, folder / "model.safetensors")
        return folder

    return make


@pytest.fixture(scope="session")
def write_tiny_data():
    """Writes a csv file of random words; the label says which of two words is in the text."""

    def write(path, count, seed=0):
        random = np.random.default_rng(seed)
        lines = ["text,label"]
        for _ in range(count):
            label = int(random.integers(2))
            words = [WORDS[label], *random.choice(WORDS[2:], random.integers(1, 12))]
            lines.append(f"{' '.join(random.permutation(words))},{label}")
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.fixture(scope="session")
def text_models(tmp_path_factory):
    """Folders of SavedModels by kind; each answers by the lengths of its texts.

    None takes a text with "explode" in it. `many` has the tasks `topic`, of two classes,
    `stars`, a regression, and `tone`, of three; it tells its process too. `waits` returns its
    process as the value; of a text "2 FOLDER" it leaves its process's number in the folder and
    waits until there are two files.
    """
    import tensorflow as tf

    classes = ["good", "bad"]

    def save(name, function, *columns, **others):
        folder = tmp_path_factory.mktemp("models") / name
        module = tf.Module()
        module.f = tf.function(
            function, [tf.TensorSpec([None], tf.string, name=column) for column in columns]
        )
        signatures = {"serving_default": module.f}
        for other, own in others.items():
            setattr(module, other, tf.function(own, []))
            signatures[other] = getattr(module, other)
        tf.saved_model.save(module, folder, signatures)
        return str(folder)

    def length(*texts):
        for text in texts:
            harmful = tf.strings.regex_full_match(text, "(?s).*explode.*")
            tf.debugging.assert_equal(tf.reduce_any(harmful), False, "a harmful text")
        return tf.cast(tf.add_n([tf.strings.length(t, "UTF8_CHAR") for t in texts]), tf.float32)

    def classify(*texts):
        bad = tf.minimum(length(*texts) / 100, 1)
        probabilities = tf.stack([1 - bad, bad], axis=1)
        return {
            "label": tf.gather(tf.constant(classes), tf.argmax(probabilities, 1)),
            "probabilities": probabilities,
            "labels": tf.tile(tf.constant([classes]), [tf.size(texts[0]), 1]),
        }

    def answer(question, context):
        size = length(question)
        return {
            "answer": tf.strings.substr(context, 0, 2, unit="UTF8_CHAR"),
            "start": tf.zeros_like(size, tf.int32),
            "end": tf.ones_like(size, tf.int32) * 2,
            "score": size,
            "null_score": length(context),
        }

    names = tf.constant(["topic", "stars", "tone"])

    def of_many(text, text_pair, task):
        known = tf.reduce_any(task[:, tf.newaxis] == names[tf.newaxis])
        tf.debugging.assert_equal(known | (tf.size(task) == 0), True, "an unknown task")
        size = length(text, text_pair)
        bad = tf.minimum(size / 100, 1)
        is_value = task == "stars"
        third = tf.where(task == "tone", 0.125, 0.0)
        probabilities = tf.stack([1 - bad - third, bad, third], axis=1)
        probabilities = tf.where(is_value[:, tf.newaxis], 0.0, probabilities)
        labels = tf.stack(
            [
                tf.where(is_value, "", "good"),
                tf.where(is_value, "", "bad"),
                tf.where(task == "tone", "neither", ""),
            ],
            axis=1,
        )
        best = tf.gather(labels, tf.argmax(probabilities, 1), batch_dims=1)
        value = tf.where(is_value, size, float("nan"))
        return {
            "label": best,
            "probabilities": probabilities,
            "labels": labels,
            "value": value,
            "process": tf.fill([tf.size(text)], process()),
        }

    def process():
        return tf.strings.split(tf.io.read_file("/proc/self/stat"))[0]

    def wait(text):
        words, found = tf.strings.split(tf.strings.reduce_join(text)), 0
        if tf.size(words) > 1:
            with tf.control_dependencies([tf.io.write_file(words[1] + "/" + process(), "")]):
                rounds = tf.identity(0)  # First the file, then the waiting.
            while found < tf.strings.to_number(words[0], tf.int32):
                # What is looked for depends on the round, or it would be looked up once.
                nothing = tf.strings.substr(tf.strings.as_string(rounds), 0, 0)
                found = tf.size(tf.io.matching_files(words[1] + "/*" + nothing))
                rounds += 1
        # Returned, or nobody would wait for it.
        found = tf.fill([tf.size(text)], found)
        return {"value": tf.fill([tf.size(text)], tf.strings.to_number(process())), "found": found}

    def tasks():
        return {"task": tf.identity(names)}

    return {
        "text": save("text", lambda text: classify(text), "text"),
        "pair": save(
            "pair", lambda text, text_pair: classify(text, text_pair), "text", "text_pair"
        ),
        "value": save("value", lambda text: {"value": length(text)}, "text"),
        "squad": save("squad", answer, "question", "context"),
        "waits": save("waits", wait, "text"),
        "other": save("other", lambda x: {"y": x}, "x"),
        "many": save(
            "many", of_many, "text", "text_pair", "task", tasks=lambda: {"task": tf.identity(names)}
        ),
    }


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster of two machines with one processor each."""
    environment = {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    before = dict(os.environ)
    os.environ.update(environment)  # The machines start with it.
    from ray.cluster_utils import Cluster

    machine = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**machine, "include_dashboard": False})
    cluster.add_node(**machine)
    yield cluster.address
    cluster.shutdown()
    os.environ.clear()
    os.environ.update(before)
