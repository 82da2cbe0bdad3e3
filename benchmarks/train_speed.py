"""Times training of adapters by this project and by AdapterHub, on the same texts.

    python -m benchmarks.train_speed --json=train_speed.json --plot=train_speed.svg

Ours is the command itself, `train.run`; theirs is `adapter_hub_speed.py` in an environment of
its own (`benchmarks.peer`). Both are whole processes, in turn, with the same encoder, texts, batch
size, number of steps and precision, adapters of the same size in the same places, dropout and
AdamW. AdapterHub's LayerNorms are frozen, as always there; ours train unless
`--notrain_layer_norm`. Theirs computes batches of texts of like length; ours, the batches that
`train.run` makes.

The cases: `fixed`, where every text has 128 tokens; `long`, Reuters-8's texts, cut at 128;
`short`, election tweets; and `--lengths`, texts whose lengths are spread around each mean.
The BERT-base of random weights goes with `fixed` and `--lengths` alone, for a quarter of the steps.

Speeds leave out each process's first three steps. The matmul bound is what a lone product of a
step's sizes reaches, measured after each pair of runs.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from absl import app, flags

from benchmarks import peer
from benchmarks.step_flops import step_flops
from benchmarks.train_speed_inputs import (
    BERT_BASE,
    Texts,
    around,
    folder_of,
    full,
    of_task,
    write_texts,
)
from benchmarks.train_speed_report import plot, table
from keras_adapters.atomic import write_text
from train.encoders.find import EncoderFiles
from train.results import machine, versions

FLAGS = flags.FLAGS

_LONGEST = 128
_LONGEST_AROUND = 256
_CASES = {
    "fixed": full(_LONGEST),
    "long": of_task("reuters_r8"),
    "short": of_task("election_tweets"),
}
_SLOWER = 4  # Of BERT-base, this part of the steps.
_LEAST_STEPS = 8
_FIRST_STEP = "loss="  # Both sides say it on standard error.
_THEIRS = pathlib.Path(__file__).with_name("adapter_hub_speed.py")
_PRODUCT = (
    "import sys; from benchmarks.matmul_bound import bound; dtype, *shape = sys.argv[1:];"
    "print(bound(dtype, tuple(map(int, shape))))"
)

flags.DEFINE_list("cases", list(_CASES), f"Which of {', '.join(_CASES)}; may be empty.")
flags.DEFINE_list("lengths", [], "Mean lengths of texts to sweep over, in tokens: 16,32,64,128.")
flags.DEFINE_list("precisions", ["float32", "bfloat16"], "Of the computation.")
flags.DEFINE_list(
    "encoders", ["minilm_l6", BERT_BASE], f"Presets or folders, or {BERT_BASE}: random weights."
)
flags.DEFINE_integer("pairs", 3, "Runs of each side. 0: show what --json holds.", lower_bound=0)
flags.DEFINE_integer("steps", 40, "Steps of a run.", lower_bound=_LEAST_STEPS)
flags.DEFINE_integer("batch_size", 32, "Texts per step.", lower_bound=1)
flags.DEFINE_integer("adapter_size", 64, "Width of the adapters.", lower_bound=1)
flags.DEFINE_bool("train_layer_norm", True, "Whether our LayerNorms train, as by default.")
flags.DEFINE_integer("threads", None, "Cores that both may use. Default: all.", lower_bound=1)
flags.DEFINE_string("work_dir", "runs/train_speed", "Folder for texts, weights and runs.")
flags.DEFINE_string("peer_python", None, "AdapterHub's Python. Default: found or made.")
flags.DEFINE_string("json", None, "File for all that is measured; written after each case.")
flags.DEFINE_string("plot", None, "File for the plot of --lengths: .svg or .png.")


@dataclasses.dataclass(frozen=True)
class Case:
    """What both sides train.

    Args:
      name: its name.
      texts: makes its texts.
      files: the encoder's.
      encoder: the encoder's name in the table.
      precision: of the computation.
      steps: of a run.
      max_seq_length: tokens of a text at most.
      length: the texts' mean length, where that is what differs.
    """

    name: str
    texts: Texts
    files: EncoderFiles
    encoder: str
    precision: str
    steps: int
    max_seq_length: int
    length: int | None = None


def main(argv: Sequence[str]) -> None:
    """Measures each case, prints its line, and writes what was measured."""
    try:
        if len(argv) > 1:
            raise ValueError(f"unexpected arguments, flags start with --: {' '.join(argv[1:])}")
        _check_flags()
        results = _measure_all() if FLAGS.pairs else json.loads(_json().read_text())
    except (ValueError, OSError, peer.ChildError) as error:
        sys.exit(f"error: {error}")
    if not FLAGS.pairs:
        print("\n".join(table(results["cases"])))
    if FLAGS.plot:
        plot(results, FLAGS.plot)


def _check_flags() -> None:
    unknown = sorted({*FLAGS.cases} - {*_CASES})
    if unknown:
        raise ValueError(f"--cases must be of {', '.join(_CASES)}. Received: {', '.join(unknown)}")
    unknown = sorted({*FLAGS.precisions} - {"float32", "bfloat16"})
    if unknown:
        raise ValueError(
            f"--precisions must be of float32, bfloat16. Received: {', '.join(unknown)}"
        )
    for length in FLAGS.lengths:
        if not length.isdecimal() or not 3 <= int(length) <= _LONGEST_AROUND:
            raise ValueError(f"--lengths must be 3 to {_LONGEST_AROUND}. Received: {length}")
    if FLAGS.plot and pathlib.Path(FLAGS.plot).suffix not in (".svg", ".png"):
        raise ValueError(f"--plot must end in .svg or .png. Received: {FLAGS.plot}")
    if not FLAGS.pairs and not FLAGS.json:
        raise ValueError("--pairs=0 shows what --json holds: name the file")


def _json() -> pathlib.Path:
    return pathlib.Path(FLAGS.json)


def _measure_all() -> dict[str, Any]:
    """Measures all cases; what is measured is written after each."""
    if FLAGS.threads:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: FLAGS.threads])
    python = pathlib.Path(FLAGS.peer_python) if FLAGS.peer_python else peer.interpreter()
    names = ("batch_size", "adapter_size", "pairs", "steps", "train_layer_norm")
    results = {
        "machine": {**machine(), "cores_used": len(os.sched_getaffinity(0))},
        "versions": {**versions(), **peer.PACKAGES},
        "settings": {name: FLAGS[name].value for name in names},
        "cases": [],
    }
    cases = _cases()
    print("\n".join(table([])), flush=True)
    for case in cases:
        results["cases"].append(_measure(case, python))
        print(table(results["cases"])[-1], flush=True)
        if FLAGS.json:
            write_text(_json(), json.dumps(results, indent=1) + "\n")
    return results


def _cases() -> list[Case]:
    work = pathlib.Path(FLAGS.work_dir)
    chosen = [(name, _CASES[name], _LONGEST, None) for name in FLAGS.cases]
    chosen += [
        ("around", around(length, _LONGEST_AROUND), _LONGEST_AROUND, length)
        for length in map(int, FLAGS.lengths)
    ]
    cases = []
    for encoder in FLAGS.encoders:
        files = folder_of(encoder, work)
        random = encoder == BERT_BASE
        steps = max(_LEAST_STEPS, FLAGS.steps // _SLOWER) if random else FLAGS.steps
        cases += [
            Case(name, texts, files, encoder, precision, steps, longest, length)
            for name, texts, longest, length in chosen
            if not random or name in ("fixed", "around")
            for precision in FLAGS.precisions
        ]
    return cases


def _measure(case: Case, python: pathlib.Path) -> dict[str, Any]:
    """Returns all that is measured of a case."""
    work = pathlib.Path(FLAGS.work_dir)
    folder = work / "texts"
    write_texts(folder, case.texts(case.steps * FLAGS.batch_size, case.files.vocabulary))
    pairs, products = [], []

    def ours() -> dict[str, Any]:
        return _run_ours(case, folder, work / "ours")

    def theirs() -> dict[str, Any]:
        return _run_theirs(case, folder, work / "theirs", python)

    for pair in peer.alternate(ours, theirs, FLAGS.pairs):
        lengths = pair[1].pop("lengths")
        pairs.append(pair)
        products.append(_lone_product(case, lengths))
    flops = step_flops(
        case.files.config,
        lengths,
        FLAGS.adapter_size,
        FLAGS.train_layer_norm,
        first_only=case.files.pooling == "pooler",
    )
    return {
        "case": case.name,
        "encoder": case.encoder,
        "precision": case.precision,
        "length": case.length,
        "steps": case.steps,
        "max_seq_length": case.max_seq_length,
        "mean_tokens": statistics.mean(lengths),
        "flops_per_text": flops / len(lengths),
        "product_flops_per_second": products,
        "pairs": [{"ours": our, "theirs": their} for our, their in pairs],
    }


def _run_ours(case: Case, texts: pathlib.Path, output: pathlib.Path) -> dict[str, Any]:
    shutil.rmtree(output, ignore_errors=True)  # A run that has finished would not run again.
    done = peer.run_child(
        [
            sys.executable,
            "-m",
            "train.run",
            "--task=csv",
            f"--train_file={texts / 'train.jsonl'}",
            f"--dev_file={texts / 'dev.jsonl'}",
            f"--encoder={case.files.folder}",
            f"--adapter_size={FLAGS.adapter_size}",
            f"--train_layer_norm={FLAGS.train_layer_norm}",
            f"--batch_size={FLAGS.batch_size}",
            f"--max_seq_length={case.max_seq_length}",
            f"--precision={case.precision}",
            "--epochs=1",
            "--learning_rate=1e-3",
            "--checkpoint_minutes=1000",
            "--noexport",
            f"--output_dir={output}",
        ],
        sign=_FIRST_STEP,
    )
    results = json.loads((output / "results.json").read_text())
    return {
        **_of_process(done),
        "examples_per_second": results["examples_per_second"],
        "useful_token_share": results.get("useful_token_share"),
        "trained": results["parameters"]["trained"],
    }


def _run_theirs(
    case: Case, texts: pathlib.Path, output: pathlib.Path, python: pathlib.Path
) -> dict[str, Any]:
    done = peer.run_child(
        [
            python,
            _THEIRS,
            f"--encoder={case.files.folder}",
            f"--texts={texts}",
            f"--size={FLAGS.adapter_size}",
            f"--batch_size={FLAGS.batch_size}",
            f"--max_seq_length={case.max_seq_length}",
            f"--precision={case.precision}",
            f"--output_dir={output}",
        ],
        sign=_FIRST_STEP,
    )
    return {**_of_process(done), **json.loads(done.output.splitlines()[-1])}


def _of_process(done: peer.Finished) -> dict[str, Any]:
    return {
        "seconds": done.seconds,
        "seconds_to_first_step": done.seconds_to_sign,
        "processor_seconds": done.processor_seconds,
        "peak_memory_bytes": done.peak_memory_bytes,
    }


def _lone_product(case: Case, lengths: Sequence[int]) -> float:
    """Returns the operations a second of the product of a batch with a feed-forward kernel."""
    rows = round(FLAGS.batch_size * statistics.mean(lengths))
    config = case.files.config
    shape = (rows, config["hidden_size"], config["intermediate_size"])
    command = [sys.executable, "-c", _PRODUCT, case.precision, *map(str, shape)]
    return float(peer.run_child(command, {"TF_CPP_MIN_LOG_LEVEL": "3"}).output)


if __name__ == "__main__":
    app.run(main)
