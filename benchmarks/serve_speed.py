"""Times a SavedModel of this project against AdapterHub, from raw texts to labels.

    python -m benchmarks.serve_speed --lengths=8,32,128 --json=speed.json --plot=speed.svg

Ours is a SavedModel in a fresh process (`serve_speed_ours.py`, TensorFlow alone); theirs is
`adapter_hub_serve.py` in an environment of its own (`benchmarks.peer`). Both are whole
processes, in turn, on the same cores, with the same encoder and texts, adapters of the same size
in the same places. Both return a label and all probabilities of each text.

The cases: one text of 3 words, of 25 and of 128 tokens; and `--texts` texts in batches, of
Reuters-8 (`long`) and election tweets (`short`), in random order and sorted by their lengths in
characters; with `--lengths`, batches of texts of so many tokens each. A ratio above 1 says that
ours is the faster.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import app, flags

from benchmarks import peer
from benchmarks.serve_speed_report import plot, table
from benchmarks.train_speed_inputs import BERT_BASE, folder_of, full, of_task
from keras_adapters.atomic import write_text
from train.command import tensorflow_environment
from train.encoders.find import EncoderFiles
from train.results import machine, versions

FLAGS = flags.FLAGS

_HERE = pathlib.Path(__file__).parent
_LONGEST = 128
_SINGLE = {"3 words": 5, "25 tokens": 25, "128 tokens": 128}
_TASKS = {"long": "reuters_r8", "short": "election_tweets"}
_SINGLE_TEXTS = 20
_SIGN = "answered"

flags.DEFINE_string(
    "encoder", "minilm_l6", f"A preset or a folder, or {BERT_BASE}: random weights."
)
flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "Of the computation.")
flags.DEFINE_integer("pairs", 3, "Processes of each side.", lower_bound=1)
flags.DEFINE_integer("texts", 256, "Texts of a case of batches.", lower_bound=1)
flags.DEFINE_integer("batch_size", 32, "Texts of a batch.", lower_bound=1)
flags.DEFINE_integer("repeats", 3, "Passes over each case in a process.", lower_bound=1)
flags.DEFINE_integer("adapter_size", 64, "Width of the adapters.", lower_bound=1)
flags.DEFINE_list("lengths", [], "Lengths of texts to sweep over, in tokens: 8,16,32,64,128.")
flags.DEFINE_integer("threads", None, "Cores that both may use. Default: all.", lower_bound=1)
flags.DEFINE_string("work_dir", "runs/serve_speed", "Folder for texts, weights and models.")
flags.DEFINE_string("peer_python", None, "AdapterHub's Python. Default: found or made.")
flags.DEFINE_string("json", None, "File for all that is measured.")
flags.DEFINE_string("plot", None, "File for the plot of --lengths: .svg or .png.")

Pair = tuple[dict[str, Any], dict[str, Any]]


def main(argv: Sequence[str]) -> None:
    """Measures both sides, prints the ratios, and writes what was measured."""
    try:
        if len(argv) > 1:
            raise ValueError(f"unexpected arguments, flags start with --: {' '.join(argv[1:])}")
        _check_flags()
        results = _measure()
    except (ValueError, OSError, peer.ChildError) as error:
        sys.exit(f"error: {error}")
    print("\n".join(table(results)))
    if FLAGS.json:
        write_text(pathlib.Path(FLAGS.json), json.dumps(results, indent=1) + "\n")
    if FLAGS.plot:
        plot(results, FLAGS.plot)


def _check_flags() -> None:
    for length in FLAGS.lengths:
        if not length.isdecimal() or not 3 <= int(length) <= _LONGEST:
            raise ValueError(f"--lengths must be 3 to {_LONGEST}. Received: {length}")
    if FLAGS.plot and pathlib.Path(FLAGS.plot).suffix not in (".svg", ".png"):
        raise ValueError(f"--plot must end in .svg or .png. Received: {FLAGS.plot}")
    if FLAGS.plot and not FLAGS.lengths:
        raise ValueError("--plot is of --lengths, which must be given")


def _measure() -> dict[str, Any]:
    if FLAGS.threads:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: FLAGS.threads])
    python = pathlib.Path(FLAGS.peer_python) if FLAGS.peer_python else peer.interpreter()
    work = pathlib.Path(FLAGS.work_dir).absolute()
    work.mkdir(parents=True, exist_ok=True)
    files = folder_of(FLAGS.encoder, work)
    cases = make_cases(files)
    (work / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    shared = [f"--size={FLAGS.adapter_size}", f"--precision={FLAGS.precision}"]
    shared += [f"--encoder={files.folder}", f"--max_seq_length={_LONGEST}"]
    model = work / "saved_model"
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3"}
    export = [sys.executable, "-m", "benchmarks.serve_speed_export", f"--output={model}"]
    peer.run_child([*export, *shared], quiet)
    given = f"--cases={work / 'cases.json'}"
    ours = [sys.executable, _HERE / "serve_speed_ours.py", f"--saved_model={model}", given]
    theirs = [python, _HERE / "adapter_hub_serve.py", given, *shared]
    pairs = [
        {"ours": our, "theirs": their}
        for our, their in peer.alternate(
            lambda: _run(ours, {**quiet, **_served_with()}), lambda: _run(theirs, {}), FLAGS.pairs
        )
    ]
    names = ("encoder", "precision", "pairs", "texts", "batch_size", "repeats", "adapter_size")
    return {
        "machine": {**machine(), "cores_used": len(os.sched_getaffinity(0))},
        "versions": {**versions(), **peer.PACKAGES},
        "settings": {name: FLAGS[name].value for name in names},
        "cases": [{**case, "texts": len(case["texts"])} for case in cases],
        "pairs": pairs,
    }


def _served_with() -> dict[str, str]:
    """Returns the environment of a process that serves alone: see docs/serving.md."""
    usual, frozen = tensorflow_environment(), {"TF_ONEDNN_ASSUME_FROZEN_WEIGHTS": "1"}
    return usual | frozen if FLAGS.precision == "bfloat16" else usual


def _run(command: Sequence[Any], environment: Mapping[str, str]) -> dict[str, Any]:
    done = peer.run_child(command, environment, sign=_SIGN)
    return {
        **json.loads(done.output.splitlines()[-1]),
        "seconds_to_first_answer": done.seconds_to_sign,
        "processor_seconds": done.processor_seconds,
        "peak_memory_bytes": done.peak_memory_bytes,
    }


def make_cases(files: EncoderFiles) -> list[dict[str, Any]]:
    """Returns what both sides answer: `name`, `texts`, `batch_size`, `repeats` of each case."""
    cases = [
        {
            "name": name,
            "texts": full(length)(_SINGLE_TEXTS, files.vocabulary),
            "batch_size": 1,
            "repeats": FLAGS.repeats,
        }
        for name, length in _SINGLE.items()
    ]
    for name, task in _TASKS.items():
        texts = of_task(task)(FLAGS.texts, files.vocabulary)
        for order, ordered in (("unsorted", texts), ("sorted", sorted(texts, key=len))):
            cases.append(_of_batches(f"{name}, {order}", ordered))
    for length in map(int, FLAGS.lengths):
        texts = full(length)(FLAGS.texts, files.vocabulary)
        cases.append({**_of_batches(f"{length} tokens each", texts), "length": length})
    return cases


def _of_batches(name: str, texts: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "texts": texts,
        "batch_size": FLAGS.batch_size,
        "repeats": FLAGS.repeats,
    }


if __name__ == "__main__":
    app.run(main)
