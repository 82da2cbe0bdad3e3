"""Puts the tasks of several runs into one SavedModel, on one base.

    python -m train.bundle --runs=runs/a,runs/b --output_dir=bundle

The runs have one pretrained encoder, and of it trained no more than LayerNorms. Each row of a
request names its task.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import flags

from keras_adapters.adapter_file import FILE, AdapterFile, read_adapter
from keras_adapters.methods.bottleneck import PLACES, AdapterConfig
from train import command
from train.encoders.find import EncoderFiles, find_encoder
from train.quiet import quiet_tensorflow

FLAGS = flags.FLAGS
_PRECISIONS = ("float32", "bfloat16")
_KINDS = ("classification", "regression")


@dataclasses.dataclass(frozen=True)
class Bundled:
    """A run that is to go into a bundle.

    Args:
      run: its folder.
      name: what the bundle calls its task.
      adapter: what it trained.
      precision: what it computed in; `None` where nothing says.
    """

    run: pathlib.Path
    name: str
    adapter: AdapterFile
    precision: str | None

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What its adapter says of it."""
        return self.adapter.metadata

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of its classes; none of a regression."""
        return tuple(self.metadata["labels"])

    @property
    def outputs(self) -> int:
        """How many outputs its head has."""
        return max(1, len(self.labels))


def main(argv: Sequence[str]) -> None:
    """Reads the flags, writes the bundle and says what is in it."""
    try:
        if len(argv) > 1:
            raise ValueError(f"unexpected arguments, flags start with --: {' '.join(argv[1:])}")
        output = pathlib.Path(FLAGS.output_dir)
        if output.exists() and not output.is_dir():
            raise NotADirectoryError(f"--output_dir={output} is a file")
        bundled = read_runs(FLAGS.runs, FLAGS.names)
        check_together(bundled)
        precision = FLAGS.precision or common_precision(bundled)
        files = find_base(bundled, FLAGS.encoder)
        quiet_tensorflow(FLAGS.tensorflow_log)
        write(output / "saved_model", bundled, files, precision)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    for each in bundled:
        what = f"{len(each.labels)} classes" if each.labels else "a value"
        print(f"{each.name}: {what}, from {each.run}")
    print(f"{len(bundled)} tasks in {output / 'saved_model'}")


def read_runs(runs: Sequence[str], names: Sequence[str] | None) -> list[Bundled]:
    """Reads what runs have trained; imports no TensorFlow.

    Args:
      runs: their folders, or those of adapters alone.
      names: what to call their tasks. By default each is called by its task; those of one
        task by their folders.

    Raises:
      OSError: a run is not there or has not finished.
      ValueError: an adapter is damaged or cannot be bundled, or two tasks have one name.
    """
    if not runs or not all(runs):
        raise ValueError(f"--runs must name at least one folder. Received: {','.join(runs)!r}")
    folders = [pathlib.Path(run) for run in runs]
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ValueError(f"--runs must not name a run twice. Received: {','.join(runs)}")
    adapters = [_read(folder) for folder in folders]
    if names is None:
        tasks = [adapter.metadata["task"] for adapter in adapters]
        counts = Counter(tasks)
        names = [
            task if counts[task] == 1 else folder.resolve().name
            for task, folder in zip(tasks, folders, strict=True)
        ]
    if len(names) != len(runs):
        raise ValueError(f"--names must be as many as --runs, {len(runs)}. Received: {len(names)}")
    twice = [name for name, count in Counter(names).items() if count > 1 or not name]
    if twice:
        raise ValueError(
            f"each task must have a name of its own: give --names. Received: {','.join(names)}"
        )
    return [
        Bundled(folder, name, adapter, _precision(folder))
        for folder, name, adapter in zip(folders, names, adapters, strict=True)
    ]


def _read(folder: pathlib.Path) -> AdapterFile:
    if not folder.is_dir():
        raise NotADirectoryError(f"--runs: {folder} is not a folder")
    path = folder if (folder / FILE).exists() else folder / "adapter"
    if not (path / FILE).exists():
        raise FileNotFoundError(
            f"--runs: {folder} holds no adapter: the run has not finished. Run its command again"
        )
    adapter = read_adapter(path)
    problem = next(_problems(adapter), None)
    if problem:
        raise ValueError(f"--runs: {folder} cannot be bundled: {problem}")
    return adapter


def _problems(adapter: AdapterFile) -> Iterator[str]:
    """Says why an adapter cannot be in a bundle."""
    told, method = adapter.metadata, adapter.method
    form, preprocessing = told.get("form"), told.get("preprocessing")
    if adapter.base is None or not isinstance(form, dict) or not isinstance(preprocessing, dict):
        yield (
            "an earlier version wrote its adapter, which does not say all that it takes. Remove "
            "the folder adapter and run the run's command again, which makes it anew"
        )
        return
    if form.get("kind") not in _KINDS:
        yield f"its task is of the kind {form.get('kind')!r}; there is room for {_KINDS}"
    if method.trains not in ("nothing", "layer_norms"):
        yield (
            f"its method {method.name!r} trains {method.trains.replace('_', ' ')} of the base, and "
            "a bundle has one base for all. Train it with --method=adapters"
        )
    labels = told.get("labels")
    kernels = [v for n, v in adapter.head_tensors.items() if n.endswith("kernel")]
    if (
        not isinstance(told.get("task"), str)
        or form.get("columns") not in (1, 2)
        or not isinstance(preprocessing.get("max_seq_length"), int)
        or told.get("pooling") not in ("pooler", "mean")
        or not isinstance(labels, list)
        or not all(isinstance(label, str) for label in labels)
        or (len(labels) < 2) == (form["kind"] == "classification")
        or [kernel.shape[-1] for kernel in kernels] != [max(1, len(labels))]
    ):
        yield "its metadata do not say its task, texts, length, pooling and a label for each output"


def _precision(run: pathlib.Path) -> str | None:
    try:
        settings = json.loads((run / "config.json").read_text(encoding="utf-8"))
        precision = settings["fit"]["precision"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return precision if precision in _PRECISIONS else None


def common_precision(bundled: Sequence[Bundled]) -> str:
    """Returns what the runs computed in.

    Raises:
      ValueError: some computed in one precision, some in another.
    """
    known = {each.precision: each.run for each in bundled if each.precision}
    if len(known) > 1:
        said = ", ".join(f"{run} in {precision}" for precision, run in sorted(known.items()))
        raise ValueError(
            f"--precision must say in what the bundle computes, for the runs differ: {said}"
        )
    return next(iter(known), _PRECISIONS[0])


def check_together(bundled: Sequence[Bundled]) -> None:
    """Raises a ValueError unless runs have one base, one tokeniser and one kind of adapters."""
    first, *others = bundled
    for other in others:
        both = f"--runs: {first.run} and {other.run} cannot share a bundle"
        differing = first.adapter.base.differences(other.adapter.base)
        if differing:
            raise ValueError(f"{both}: they have different bases:\n  " + "\n  ".join(differing))
        for what in ("lower_case", "vocabulary"):
            values = [each.metadata["preprocessing"].get(what) for each in (first, other)]
            if values[0] != values[1]:
                raise ValueError(f"{both}: `{what}` is {values[0]} and {values[1]}")
    adapted = [each for each in bundled if each.adapter.method.insertion is not None]
    for other in adapted[1:]:
        settings = [each.adapter.method.insertion for each in (adapted[0], other)]
        for name in _SHARED:
            values = [getattr(each, name, type(each)) for each in settings]
            if values[0] != values[1]:
                raise ValueError(
                    f"--runs: {adapted[0].run} and {other.run} cannot share a bundle: their "
                    f"adapters' {name} is {values[0]!r} and {values[1]!r}"
                )


# In what the adapters of one bundle must be alike.
_SHARED = ("activation", "form", "norm", "hidden_layers", "scale", "gate")


def room_for(bundled: Sequence[Bundled]) -> AdapterConfig | None:
    """Returns the settings that all of the runs' adapters fit in."""
    adapters = [each.adapter for each in bundled if each.adapter.method.insertion is not None]
    settings = [adapter.method.insertion for adapter in adapters]
    if not settings:
        return None
    layers = None
    if all(each.layers is not None for each in settings):
        layers = tuple(sorted({layer for each in settings for layer in each.layers}))
    return AdapterConfig(
        size=max(
            value.shape[0]
            for adapter in adapters
            for name, value in adapter.encoder_tensors.items()
            if name.endswith("/adapter/down/bias")
        ),
        **{name: getattr(settings[0], name) for name in _SHARED},
        places=tuple(p for p in PLACES if any(p in each.places for each in settings)),
        layers=layers,
    )


def find_base(bundled: Sequence[Bundled], name: str | None) -> EncoderFiles:
    """Finds the encoder that runs have in common; imports no TensorFlow for most formats.

    Args:
      bundled: the runs.
      name: what `--encoder` says; by default it is where the first run found it.

    Raises:
      OSError, ValueError: it is not there, or has another vocabulary.
    """
    told = bundled[0].metadata
    files = find_encoder(name or told.get("encoder"))
    found = hashlib.sha256(files.vocab_file.read_bytes()).hexdigest()
    expected = told["preprocessing"].get("vocabulary")
    if (found, files.lower_case) != (expected, told["preprocessing"].get("lower_case")):
        raise ValueError(
            f"--encoder={files.name} has not the vocabulary, or the casing, of {bundled[0].run}. "
            "Name the encoder that the runs had"
        )
    return files


def write(
    folder: str | os.PathLike, bundled: Sequence[Bundled], files: EncoderFiles, precision: str
) -> None:
    """Writes the SavedModel; see `train.objectives.text.bundle`.

    Raises:
      ValueError: the encoder is not the runs'.
      OSError: it cannot be written.
    """
    import tensorflow as tf
    import tf_keras

    from keras_adapters.converters.load import load_encoder
    from keras_adapters.multi_task import MultiTaskModel
    from train.objectives.text.bundle import BundledTask, export_bundle

    tf_keras.mixed_precision.set_global_policy(
        "mixed_bfloat16" if precision == "bfloat16" else precision
    )
    poolers = all(each.metadata.get("pooling") == "pooler" for each in bundled)
    model = MultiTaskModel(
        load_encoder(files.checkpoint, output_range=1 if poolers else None),
        max_tasks=len(bundled),
        max_outputs=max(each.outputs for each in bundled),
        insertion=room_for(bundled),
    )
    for each in bundled:
        model.add(each.name, each.adapter)
    tasks = [
        BundledTask(
            each.name,
            each.labels,
            each.metadata["form"]["columns"],
            each.metadata["preprocessing"]["max_seq_length"],
        )
        for each in bundled
    ]
    try:
        export_bundle(folder, model, files.vocab_file, files.lower_case, tasks)
    except tf.errors.OpError as error:  # What TensorFlow makes of a full disk.
        raise OSError(f"{folder} cannot be written: {error.message}") from error


if __name__ == "__main__":
    # Here alone, for other commands have flags of the same names.
    flags.DEFINE_list("runs", None, "Folders of finished runs of train.run.")
    flags.DEFINE_list("names", None, "What to call their tasks. Default: the runs' --task.")
    flags.DEFINE_string("encoder", None, "Their encoder. Default: where the first found it.")
    flags.DEFINE_enum("precision", None, _PRECISIONS, "Of the computation. Default: the runs'.")
    flags.DEFINE_string("output_dir", None, "Folder; the SavedModel goes to saved_model in it.")
    flags.mark_flags_as_required(["runs", "output_dir"])
    command.run(main)
