"""Trains a pretrained BERT encoder on a text task: `python -m train.run --task=reuters_r8`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags, logging

from keras_adapters.methods.bottleneck import FORMS, NORMS
from train import command
from train.config import METHOD_NAMES, RunConfig
from train.config_parts import ADAPTER_DTYPES, POOLINGS, PRECISIONS, STRATEGIES
from train.encoders.find import DEFAULT, EncoderFiles, find_encoder
from train.fit.interruptions import Interruptions, Preempted, end_process
from train.fit.workers import WORKER_MINUTES, is_first_worker, several_workers
from train.quiet import quiet_tensorflow, quiet_xla
from train.run_folder import RunFolder
from train.settle import init_checksum, settle
from train.tasks.table import TASKS

FLAGS = flags.FLAGS

flags.DEFINE_enum("task", None, list(TASKS), "What to train.")
flags.DEFINE_enum(
    "method",
    "adapters",
    list(METHOD_NAMES),
    "What trains: the transfer method; no_bert: a search over models without BERT.",
)
flags.DEFINE_list(
    "adapter_size",
    None,
    "Width of the adapters, or one for each layer: 64,64,32. Default: by --task, else 64.",
)
flags.DEFINE_float("adapter_reduction_factor", None, "Instead of --adapter_size: features a unit.")
flags.DEFINE_string("adapter_activation", None, "Keras's name of it. Default: gelu.")
flags.DEFINE_float("adapter_init_stddev", None, "Of the initial kernels. Default: 0.01.")
flags.DEFINE_float("adapter_dropout", None, "Dropout inside the adapters. Default: 0.")
flags.DEFINE_list("adapter_places", None, "attention, feed_forward or both, which is the default.")
flags.DEFINE_list("adapter_layers", None, "Indices of the blocks with adapters. Default: all.")
flags.DEFINE_enum("adapter_form", None, FORMS, "Where adapters stand. Default: sequential.")
flags.DEFINE_enum("adapter_norm", None, NORMS, "Normalisation in the adapters. Default: none.")
flags.DEFINE_integer("adapter_hidden_layers", None, "Hidden layers of an adapter. Default: 1.")
flags.DEFINE_string("adapter_scale", None, "A number, learned or per_channel. Default: 1.")
flags.DEFINE_bool("adapter_gate", None, "Whether a trained gate scales what adapters change.")
flags.DEFINE_bool(
    "train_layer_norm", True, "--method=adapters: whether the LayerNorms train beside them."
)
flags.DEFINE_string("init_adapter", None, "Folder of an adapter to start from.")
flags.DEFINE_integer("top_layers", None, "Blocks that train with --method=top_layers.")
flags.DEFINE_string("encoder", DEFAULT, "A preset, a folder or file, or a Hugging Face id.")
flags.DEFINE_enum("pooling", "auto", POOLINGS, "What the head reads of the encoder.")
flags.DEFINE_float("head_dropout", None, "Dropout before the head, in training.")
flags.DEFINE_string("data_dir", None, "Folder of the task's files. Packaged tasks need none.")
flags.DEFINE_string("train_file", None, "--task=csv: a .csv, .tsv or .jsonl file.")
flags.DEFINE_string("dev_file", None, "--task=csv: as --train_file. Default: cut from it.")
flags.DEFINE_string("test_file", None, "--task=csv: as --train_file; evaluated once.")
flags.DEFINE_list("text_columns", ["text"], "--task=csv: one text column, or two of a pair.")
flags.DEFINE_string("label_column", "label", "--task=csv: the column of the labels.")
flags.DEFINE_string("output_dir", None, "Folder for results. Default: named by the run.")
flags.DEFINE_integer("max_seq_length", None, "Tokens per example. Default: 128, of spans 384.")
flags.DEFINE_integer("batch_size", 32, "Examples per step, over all replicas together.")
flags.DEFINE_float("learning_rate", None, "Peak learning rate. Default: by --task and --method.")
flags.DEFINE_integer("epochs", None, "Passes over the training examples. Default: by --task.")
flags.DEFINE_integer("seed", 0, "Seed of data order, initial values and dropout.")
flags.DEFINE_enum("precision", "float32", PRECISIONS, "Precision of the computation.")
flags.DEFINE_enum("strategy", "auto", STRATEGIES, "Where to train.")
flags.DEFINE_string("tpu", None, "Name or address of a TPU; `local` on a TPU VM.")
flags.DEFINE_integer("max_train_examples", None, "Train on no more examples than this.")
flags.DEFINE_integer(
    "gradient_accumulation_steps", None, "Parts that a batch is computed in. Default: by device."
)
flags.DEFINE_bool("pack", None, "Let short texts share a row of a batch. Default: where they can.")
flags.DEFINE_bool("rematerialize", False, "Compute blocks twice, to use less memory.")
flags.DEFINE_integer("steps_per_execution", None, "Steps between returns to Python.")
flags.DEFINE_float(
    "worker_minutes", WORKER_MINUTES, "Minutes that a worker waits for the others' start."
)
flags.DEFINE_float("checkpoint_minutes", 5.0, "Minutes between checkpoints; 0: every step.")
flags.DEFINE_integer("keep_checkpoints", 2, "How many checkpoints are kept.")
flags.DEFINE_bool("predict_test", False, "Predict test splits published without labels.")
flags.DEFINE_bool("export", True, "Write a SavedModel that takes raw text.")
flags.DEFINE_integer("search_trials", None, "--method=no_bert: models to try. Default: 50.")
flags.DEFINE_float("search_seconds", None, "--method=no_bert: time to try models in.")
flags.DEFINE_enum("adapter_dtype", "float32", ADAPTER_DTYPES, "What the adapter file stores.")
flags.DEFINE_string(
    "feature_cache",
    None,
    "--method=feature_based: folder that keeps the encoder's features from run to run. "
    "Default: in the user's caches; empty: none.",
)
flags.mark_flag_as_required("task")


def main(argv: Sequence[str]) -> None:
    """Reads the flags, runs the experiment and prints a summary."""
    try:
        if len(argv) > 1:
            raise ValueError(f"unexpected arguments, flags start with --: {' '.join(argv[1:])}")
        config, encoder = read_config(FLAGS)
        with Interruptions() as interruptions:
            run = _run if config.search is None else _search
            run(config, encoder, interruptions)
    except Preempted as error:
        end_process(error)
    except (ValueError, OSError, FloatingPointError) as error:
        logging.debug("Where the error is from:", exc_info=True)
        sys.exit(f"error: {error}")


def _run(config: RunConfig, encoder: EncoderFiles, interruptions: Interruptions) -> None:
    quiet_tensorflow(FLAGS.tensorflow_log)
    device = config.device
    # Several workers must find each other before anything else of TensorFlow, with which some
    # tasks are read. Otherwise the data comes first: TensorFlow takes seconds to import, and a
    # malformed row is to be reported at once.
    several = several_workers(device.strategy, device.tpu)
    strategy = _make_strategy(config, interruptions) if several else None
    data = _read(config, interruptions)
    first = is_first_worker(device.strategy, device.tpu)
    init = init_checksum(config)
    with RunFolder(config, data.fingerprint(), encoder.checksum, first, init) as folder:
        results = folder.results()
        if results is None:
            from train import experiment

            strategy = strategy or _make_strategy(config, interruptions)
            quiet_xla()
            results = experiment.run(config, data, encoder, folder, strategy, interruptions)
        else:
            missing = folder.missing() if first else []
            _tell_finished(folder, missing)
            if first and (missing or not folder.knows_encoder):
                from train import experiment

                experiment.complete(config, data, encoder, folder, interruptions)
        if results:
            print(_summary(results, folder))


def _search(config: RunConfig, encoder: None, interruptions: Interruptions) -> None:
    data = _read(config, interruptions)
    with RunFolder(config, data.fingerprint(), encoder) as folder:
        results = folder.results()
        missing = folder.missing()
        if results is not None:
            _tell_finished(folder, missing)
        if results is None or missing:
            # Threads that wait without resting crawl where other processes compute too.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
            with interruptions.during("importing scikit-learn"):
                from train.baselines import no_bert

            if results is None:
                results = no_bert.run(config, data, folder, interruptions)
            else:
                no_bert.complete(config, data, folder, interruptions)
        print(_summary(results, folder))


def _read(config: RunConfig, interruptions: Interruptions) -> Any:
    with interruptions.during("reading the data"):
        data = TASKS[config.task].read(config.files)
        return data.with_unlabelled() if config.keep.predict_test else data


def _tell_finished(folder: RunFolder, missing: Sequence[str]) -> None:
    making = f"; making what it lacks: {', '.join(missing)}" if missing else ""
    print(f"This run has finished before; its results stand in {folder.path}{making}.")


def _make_strategy(config: RunConfig, interruptions: Interruptions) -> Any:
    with interruptions.during("looking for the devices"):
        from train.fit.strategies import make_strategy

        device = config.device
        return make_strategy(device.strategy, device.tpu, worker_minutes=device.worker_minutes)


def read_config(
    values: flags.FlagValues, find: Callable[[str], EncoderFiles] = find_encoder
) -> tuple[RunConfig, EncoderFiles | None]:
    """Returns the settings that flags name, settled, and the encoder's files.

    Args:
      values: this module's flags, parsed; they may be copies.
      find: finds an encoder's files.

    Returns:
      The settings, and the files; `None` of a search, which has no encoder.

    Raises:
      ValueError: as `RunConfig.from_settings` and `settle` say.
      OSError: as `find_encoder` says, or a file of the task is not there.
    """
    settings = {name: values[name].value for name in RunConfig.setting_names()}
    config = RunConfig.from_settings(**settings)
    encoder = find(config.model.encoder) if config.search is None else None
    return settle(config, encoder), encoder


def _summary(results: dict[str, Any], folder: RunFolder) -> str:
    parameters = results["parameters"]
    lines = [f"\n{results['task']}, method {results['method']}, seed {results['seed']}"]
    for split, metrics in results["metrics"].items():
        names = TASKS[results["task"]].metrics
        scores = ", ".join(f"{name} {100 * metrics[name]:.2f}" for name in names)
        lines.append(f"  {split:<8} {scores} ({results['examples'][split]} examples)")
    lines.append(
        f"  trained  {parameters['trained']:,} of {parameters['total']:,} parameters "
        f"({parameters['trained_percent']:.2f}%), {results['adapter_bytes'] / 1e6:.1f} MB on disk"
    )
    if results["examples_per_second"]:
        lines.append(f"  speed    {results['examples_per_second']:.1f} training examples/s")
    lines.append(
        f"  total    {results['seconds']:.0f} s, {results['peak_memory_bytes'] / 1e9:.1f} GB "
        "peak memory"
    )
    outputs = {
        "adapter": folder.adapter,
        "model": folder.model if folder.model.exists() else folder.saved_model,
        "logs": folder.logs,
        "test": folder.predictions,
        "results": folder.path / "results.json",
    }
    lines += [f"  {name:<8} {path}" for name, path in outputs.items() if path.exists()]
    return "\n".join(lines)


if __name__ == "__main__":
    command.run(main, outlives_readers=True)
