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
