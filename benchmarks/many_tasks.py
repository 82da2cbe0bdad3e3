"""Times batches of many tasks on one base against a batch of one, and against models apart.

    python -m benchmarks.many_tasks --json=many_tasks.json --plot=many_tasks.svg

All variants are computed in turn, in an order that changes from round to round, so that what
else the machine does meets them alike; ratios are between times of one round. It prints a table
for each precision: of a batch's time the median, and of its ratio to the batch of one task the
median and the quartiles; and the ratio of the processor's time, which other processes on the
machine disturb less.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from absl import app, flags

from benchmarks.drawing import figure
from keras_adapters.adapter_file import AdapterFile, read_adapter, write_adapter
from keras_adapters.converters.load import load_encoder
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from keras_adapters.multi_task import MultiTaskModel
from keras_adapters.preprocessor import BertPreprocessor
from keras_adapters.saving import collect
from train.encoders.find import EncoderFiles, find_encoder
from train.objectives.model import build_classifier
from train.objectives.text.export import export_text_model

FLAGS = flags.FLAGS

flags.DEFINE_list("tasks", ["1", "8", "64", "512", "1024"], "Numbers of tasks.")
flags.DEFINE_list("precisions", ["float32", "bfloat16"], "Of the computation.")
flags.DEFINE_string("encoder", "minilm_l6", "A preset or a path, as of train.run.")
flags.DEFINE_integer("adapter_size", 64, "Width of the adapters.", lower_bound=1)
flags.DEFINE_integer("outputs", 20, "Classes of each task.", lower_bound=2)
flags.DEFINE_integer("batch_size", 32, "Rows of a batch.", lower_bound=1)
flags.DEFINE_integer("seq_length", 128, "Tokens of a row.", lower_bound=3)
flags.DEFINE_integer("rounds", 15, "How often each variant is timed.", lower_bound=3)
flags.DEFINE_integer("saved_models", 8, "SavedModels of one task each to load.", lower_bound=0)
flags.DEFINE_string("json", None, "File for the results.")
flags.DEFINE_string("plot", None, "File for the plot: .svg or .png.")

_ONE = "1 task"
_ADDED = 20


@dataclasses.dataclass(frozen=True)
class Variant:
    """What is timed.

    Args:
      name: its name.
      tasks: how many tasks there are.
      rows: how the rows are spread over them: `uniform`, `skewed` or `apart`.
      compute: computes one batch.
    """

    name: str
    tasks: int
    rows: str
    compute: Callable[[], Any]


def main(argv: Sequence[str]) -> None:
    """Measures in each precision; prints tables, writes the results and the plot."""
    del argv
    files = find_encoder(FLAGS.encoder)
    results = {
        "machine": _machine(),
        "settings": {
            name: FLAGS[name].value
            for name in ("encoder", "adapter_size", "outputs", "batch_size", "seq_length", "rounds")
        },
        "precisions": {},
    }
    for precision in FLAGS.precisions:
        measured = measure(files, precision)
        if results["precisions"]:  # What the first has freed is taken again, and hides growth.
            measured["resident_bytes"] = {}
        results["precisions"][precision] = measured
        print(table(precision, results["precisions"][precision]), flush=True)
    if FLAGS.json:
        pathlib.Path(FLAGS.json).write_text(json.dumps(results, indent=2) + "\n")
    if FLAGS.plot:
        plot(results, FLAGS.plot)


def measure(files: EncoderFiles, precision: str) -> dict[str, Any]:
    """Returns what is measured in one precision."""
    policy = "mixed_bfloat16" if precision == "bfloat16" else precision
    tf_keras.mixed_precision.set_global_policy(policy)
    tf_keras.utils.set_random_seed(0)
    counts = sorted({1, *map(int, FLAGS.tasks)})
    encoder = load_encoder(files.checkpoint)
    method = Method(AdapterConfig(FLAGS.adapter_size))
    single = build_classifier(encoder, FLAGS.outputs, method, pooling="mean")
    adapter = collect(single, encoder, {"pooling": "mean"})
    batch = _batch(encoder.get_config()["vocab_size"])
    models, memory, variants = {}, {}, []
    for count in counts:
        before = _resident()
        models[count] = _filled(files, adapter, count)
        memory[count] = _resident() - before
    variants.append(_plain(single, batch))
    for count, model in models.items():
        variants += _mixed(model, count, batch)
    apart, memory_apart = _apart(files, single, counts, batch)
    times = _time([*variants, *apart])
    return {
        "variants": [_summary(each, times) for each in [*variants, *apart]],
        "bytes_per_task": models[counts[-1]].bytes_per_task,
        "resident_bytes": memory,
        "resident_bytes_per_saved_model": memory_apart,
        "milliseconds_to_add": _time_adding(models[counts[-1]], adapter),
    }


def _filled(files: EncoderFiles, adapter: AdapterFile, count: int) -> MultiTaskModel:
    """Returns a model of many tasks, all of whose weights are random."""
    model = MultiTaskModel(
        load_encoder(files.checkpoint), count, FLAGS.outputs, AdapterConfig(FLAGS.adapter_size)
    )
    rng = np.random.default_rng(0)
    for index in range(count):
        model.add(_name(index), _moved(adapter, rng))
    return model


def _moved(adapter: AdapterFile, rng: np.random.Generator) -> AdapterFile:
    tensors = {
        name: value + 0.02 * rng.standard_normal(value.shape, np.float32)
        for name, value in adapter.tensors.items()
    }
    return dataclasses.replace(adapter, tensors=tensors)


def _name(index: int) -> str:
    return f"task_{index}"


def _batch(vocab_size: int) -> dict[str, tf.Tensor]:
    shape = FLAGS.batch_size, FLAGS.seq_length
    ids = np.random.default_rng(0).integers(1000, vocab_size, shape).astype(np.int32)
    return {
        "input_word_ids": tf.constant(ids),
        "input_mask": tf.ones(shape, tf.int32),
        "input_type_ids": tf.zeros(shape, tf.int32),
    }


def _plain(single: tf_keras.Model, batch: Mapping[str, tf.Tensor]) -> Variant:
    compute = tf.function(lambda inputs: single(inputs, training=False))
    return Variant("a model of one task alone", 1, "uniform", lambda: compute(batch).numpy())


def _mixed(model: MultiTaskModel, count: int, batch: Mapping[str, tf.Tensor]) -> Iterator[Variant]:
    """Yields batches whose rows are of all tasks alike, and mostly of a few."""
    compute = tf.function(lambda inputs: model(inputs)["logits"])
    for rows in ("uniform", "skewed") if count > 1 else ("uniform",):
        names = tf.constant([_name(index) for index in _rows(count, rows)])
        name = f"{count} tasks, {rows}" if count > 1 else _ONE
        inputs = {**batch, "task": names}
        yield Variant(name, count, rows, lambda inputs=inputs: compute(inputs).numpy())


def _rows(count: int, rows: str) -> np.ndarray:
    """Returns each row's task; where they are skewed, a task's share falls with its rank."""
    shares = np.ones(count) if rows == "uniform" else 1 / np.arange(1, count + 1)
    return np.random.default_rng(1).choice(count, FLAGS.batch_size, p=shares / shares.sum())


def _apart(
    files: EncoderFiles, single: tf_keras.Model, counts: Sequence[int], batch: Mapping
) -> tuple[list[Variant], float | None]:
    """Returns the same batches for SavedModels of one task each, and what one takes in memory.

    Where there are more tasks than SavedModels are loaded, those that are answer in turn.
    """
    if not FLAGS.saved_models:
        return [], None
    with tempfile.TemporaryDirectory() as folder:
        preprocess = BertPreprocessor(files.vocab_file, files.lower_case, FLAGS.seq_length)
        labels = [str(index) for index in range(FLAGS.outputs)]
        export_text_model(folder, single, preprocess, labels)
        models = [tf.saved_model.load(folder)]
        before = _resident()
        models += [tf.saved_model.load(folder) for _ in range(FLAGS.saved_models - 1)]
        per_model = (_resident() - before) / max(1, len(models) - 1)
    answers = [model.signatures["tokens"] for model in models]

    def variant(count: int) -> Variant:
        tasks = _rows(count, "uniform")
        groups = {task: np.flatnonzero(tasks == task) for task in sorted(set(tasks))}

        def compute() -> np.ndarray:
            logits = np.empty((FLAGS.batch_size, FLAGS.outputs), np.float32)
            for task, rows in groups.items():
                inputs = {name: tf.gather(value, rows) for name, value in batch.items()}
                answer = answers[task % len(answers)](**inputs)
                logits[rows] = answer["probabilities"].numpy()
            return logits

        name = f"{count} SavedModels" if count > 1 else "1 SavedModel"
        return Variant(name, count, "apart", compute)

    return [variant(count) for count in counts], per_model


def _time(variants: Sequence[Variant]) -> dict[str, list[tuple[float, float]]]:
    """Returns the seconds of each variant in each round: those that pass, and the processor's."""
    times: dict[str, list[tuple[float, float]]] = {variant.name: [] for variant in variants}
    for variant in variants:
        variant.compute()  # Traces.
        variant.compute()
    order = list(variants)
    shuffle = random.Random(0).shuffle
    for _ in range(FLAGS.rounds):
        shuffle(order)
        for variant in order:
            start = time.perf_counter(), time.process_time()
            variant.compute()
            passed = time.perf_counter() - start[0], time.process_time() - start[1]
            times[variant.name].append(passed)
    return times


def _summary(
    variant: Variant, times: Mapping[str, Sequence[tuple[float, float]]]
) -> dict[str, Any]:
    (mine, own), (one, base) = (zip(*times[name], strict=True) for name in (variant.name, _ONE))
    ratios = [each / first for each, first in zip(mine, one, strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4)
    return {
        "name": variant.name,
        "tasks": variant.tasks,
        "rows": variant.rows,
        "seconds": statistics.median(mine),
        "rows_per_second": FLAGS.batch_size / statistics.median(mine),
        "ratio": median,
        "ratio_quartiles": [low, high],
        "processor_ratio": statistics.median(a / b for a, b in zip(own, base, strict=True)),
        "all_seconds": list(mine),
    }


def _time_adding(model: MultiTaskModel, adapter: AdapterFile) -> dict[str, float]:
    """Returns the median milliseconds of reading a file, and of what follows until it answers."""
    reading, adding = [], []
    with tempfile.TemporaryDirectory() as folder:
        write_adapter(folder, adapter)
        model.drop(_name(0))
        for _ in range(_ADDED):
            start = time.perf_counter()
            read = read_adapter(folder)
            middle = time.perf_counter()
            model.add(_name(0), read)
            adding.append(time.perf_counter() - middle)
            reading.append(middle - start)
            model.drop(_name(0))
        model.add(_name(0), adapter)
    return {
        "read": 1e3 * statistics.median(reading),
        "add": 1e3 * statistics.median(adding),
        "most": 1e3 * max(a + b for a, b in zip(reading, adding, strict=True)),
    }


def table(precision: str, measured: Mapping[str, Any]) -> str:
    """Returns the results of one precision as a table in Markdown, and what else was found."""
    lines = [
        f"\n{precision}\n",
        "| batch of | ms | rows/s | against 1 task | quartiles | processor |",
        "|---|---|---|---|---|---|",
    ]
    for row in measured["variants"]:
        low, high = row["ratio_quartiles"]
        lines.append(
            f"| {row['name']} | {1e3 * row['seconds']:.0f} | {row['rows_per_second']:.0f} | "
            f"{row['ratio']:.3f} | {low:.3f} to {high:.3f} | "
            f"{row['processor_ratio']:.3f} |"
        )
    adding = measured["milliseconds_to_add"]
    lines.append(f"\nmemory per task: {measured['bytes_per_task'] / 1e6:.2f} MB")
    for count, held in measured["resident_bytes"].items():
        lines.append(f"resident with {count} tasks, base included: {held / 1e6:.0f} MB")
    if measured["resident_bytes_per_saved_model"]:
        apart = measured["resident_bytes_per_saved_model"]
        lines.append(f"resident per SavedModel: {apart / 1e6:.0f} MB")
    lines.append(
        f"one more task: {adding['read']:.1f} ms to read and check its file, "
        f"{adding['add']:.1f} ms to add it ({adding['most']:.1f} ms at most, both)"
    )
    return "\n".join(lines)


def plot(results: Mapping[str, Any], path: str) -> None:
    """Draws the time of a batch over the number of tasks, a panel for each precision."""
    panels = results["precisions"]
    styles = {
        "uniform": ("one model, tasks evenly", "o-", "tab:blue"),
        "skewed": ("one model, tasks skewed", "s--", "tab:orange"),
        "apart": ("a SavedModel for each task", "^:", "tab:gray"),
    }
    size = (4.6 * len(panels), 3.6)
    with figure(path, 1, len(panels), size, sharey=True) as (drawn, axes):
        for axis, (precision, measured) in zip(axes[0], panels.items(), strict=True):
            for rows, (label, style, colour) in styles.items():
                points = [
                    row
                    for row in measured["variants"]
                    if row["rows"] == rows and "alone" not in row["name"]
                ]
                if not points:
                    continue
                y = np.array([row["ratio"] for row in points])
                spread = np.abs(np.array([row["ratio_quartiles"] for row in points]).T - y)
                x = [row["tasks"] for row in points]
                look = {"fmt": style, "color": colour, "label": label}
                axis.errorbar(x, y, spread, **look, capsize=2, markersize=4)
            axis.set_xscale("log", base=2)
            ticks = sorted({row["tasks"] for row in measured["variants"]})
            axis.set_xticks(ticks, [str(tick) for tick in ticks])
            axis.set_xlabel("tasks")
            axis.set_title(precision)
            axis.grid(alpha=0.3)
        axes[0][0].set_ylabel("time of a batch / time of a batch of one task")
        axes[0][0].set_ylim(bottom=0)  # Once all is drawn, for the panels share it.
        axes[0][0].legend(loc="lower left")
        settings = results["settings"]
        drawn.suptitle(
            f"{settings['encoder']}, batches of {settings['batch_size']} x "
            f"{settings['seq_length']} tokens, adapters of size {settings['adapter_size']}",
            fontsize=9,
        )


def _resident() -> int:
    """Returns this process's resident memory in bytes."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _machine() -> dict[str, Any]:
    gpus = [device.name for device in tf.config.list_logical_devices("GPU")]
    return {
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "gpus": gpus,
        "tensorflow": tf.__version__,
    }


if __name__ == "__main__":
    app.run(main)
