"""Converts adapters between this package's files and AdapterHub's folders, both ways.

    python -m keras_adapters.convert INPUT OUTPUT [flags]

INPUT tells the direction: a folder of AdapterHub's has `adapter_config.json`, an adapter of
this package's an `adapter.safetensors` that says so. OUTPUT is a folder, which appears whole or
not at all.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import signal
import sys
from collections.abc import Collection, Sequence

from keras_adapters.adapter_file import AdapterFileError, read_adapter, write_adapter
from keras_adapters.adapter_hub.files import is_adapter_hub
from keras_adapters.adapter_hub.reading import DROPS as IMPORT_DROPS
from keras_adapters.adapter_hub.reading import (
    AdapterHubFolder,
    read_folder,
    to_adapter_file,
)
from keras_adapters.adapter_hub.writing import DROPS as EXPORT_DROPS
from keras_adapters.adapter_hub.writing import check_replaceable, plan_files, write_files
from keras_adapters.converters.formats import EncoderCheckpoint, recognise
from keras_adapters.fingerprint import Base


def from_adapter_hub(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    base: str | os.PathLike | None = None,
    drop: Collection[str] = (),
) -> None:
    """Converts a folder of AdapterHub's into an adapter that `load_adapter` loads.

    TensorFlow is loaded when all else is known to fit: the encoder is hashed as it computes.

    Args:
      source: the folder, see `adapter_hub.read_adapter_hub`.
      target: the folder of the adapter, see `adapter_file.write_adapter`.
      base: the encoder that the adapter was trained in, in any format that `load_encoder`
        reads; by default the one in the folder that `source` names as its model, if it is one.
      drop: `("head",)` to leave the head behind.

    Raises:
      OSError: a file is missing, or cannot be read or written.
      AdapterFileError: the folder is damaged, cannot be expressed here or does not fit `base`.
      ValueError: the base is not known or cannot be loaded; `drop` names what is not there; or
        something else stands at `target`. It is untouched.
    """
    source, target = pathlib.Path(source), pathlib.Path(target)
    _check_apart(source, target)
    if is_adapter_hub(target):
        raise ValueError(
            f"{target} holds an adapter of AdapterHub's, which would be damaged. Name a new folder"
        )
    if os.path.lexists(target) and not target.is_dir():
        raise FileExistsError(f"{target} is a file; a folder was to be written there")
    folder = read_folder(source, drop)
    checkpoint = _find_base(folder, base)
    layers = _check_fits(folder, checkpoint)
    folder.adapted(layers)
    write_adapter(target, to_adapter_file(folder, _load_base(checkpoint)))


def to_adapter_hub(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    name: str | None = None,
    base_model: str | None = None,
    drop: Collection[str] = (),
) -> None:
    """Converts an adapter of `save_adapter`'s into a folder of AdapterHub's.

    Args:
      source: the adapter, see `adapter_file.read_adapter`.
      target: the folder, see `adapter_hub.write_adapter_hub`.
      name: what the adapter is to be called there.
      base_model: what the base is called on the Hugging Face Hub.
      drop: what may be left behind.

    Raises:
      OSError: a file is missing, or cannot be read or written.
      AdapterFileError: the adapter is damaged.
      ValueError: as `write_adapter_hub`.
    """
    source, target = pathlib.Path(source), pathlib.Path(target)
    _check_apart(source, target)
    check_replaceable(target)
    files = plan_files(read_adapter(source), name=name, base_model=base_model, drop=drop)
    write_files(target, files)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the flags and converts; ends with one line on standard error if it cannot."""
    flags = _parser().parse_args(arguments)
    drop = tuple(name for part in flags.drop for name in part.split(","))
    try:
        source = pathlib.Path(flags.input)
        if not source.exists():
            raise FileNotFoundError(f"{source}: there is no such folder or file")
        if is_adapter_hub(source):
            _check_flags(flags, ("name", "base_model"), "to AdapterHub's format")
            # It looks when it is imported, and errors reach Python anyway.
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            from_adapter_hub(source, flags.output, base=flags.base, drop=drop)
        else:
            _check_flags(flags, ("base",), "from AdapterHub's format")
            to_adapter_hub(
                source, flags.output, name=flags.name, base_model=flags.base_model, drop=drop
            )
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    print(f"wrote {flags.output}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m keras_adapters.convert",
        description=(__doc__ or "").split("\n\n    ")[0],
        epilog="INPUT tells the direction: AdapterHub's folders have adapter_config.json.",
        allow_abbrev=False,
    )
    parser.add_argument("input", metavar="INPUT", help="an adapter, in either format")
    parser.add_argument("output", metavar="OUTPUT", help="the folder to write")
    drops = ", ".join(EXPORT_DROPS)
    parser.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="NAMES",
        help=f"what may be left behind, with commas between: {drops}; {', '.join(IMPORT_DROPS)} "
        "from AdapterHub's format",
    )
    parser.add_argument(
        "--base",
        metavar="FOLDER",
        help="from AdapterHub's format: the pretrained encoder that the adapter was trained in, "
        "in any format that load_encoder reads",
    )
    parser.add_argument("--name", help="to AdapterHub's format: the adapter's name there")
    parser.add_argument(
        "--base_model",
        metavar="NAME",
        help="to AdapterHub's format: the base's name on the Hugging Face Hub",
    )
    return parser


def _check_flags(flags: argparse.Namespace, others: Sequence[str], direction: str) -> None:
    for name in others:
        if getattr(flags, name) is not None:
            raise ValueError(
                f"--{name} is for conversions {direction}, and {flags.input} goes the other way"
            )


def _check_apart(source: pathlib.Path, target: pathlib.Path) -> None:
    """Raises unless to write the target leaves the source as it is."""
    own = source if source.is_dir() else source.parent
    if target.resolve() in (own.resolve(), *own.resolve().parents):
        raise ValueError(
            f"OUTPUT must be another folder than INPUT, and none that it is in. Received: {target}"
        )


def _find_base(folder: AdapterHubFolder, base: str | os.PathLike | None) -> EncoderCheckpoint:
    """Returns the encoder that an adapter was trained in, of which no weights are read yet."""
    if base is not None:
        return recognise(base)
    name = folder.model_name
    if name and pathlib.Path(name).is_dir():
        return recognise(name)
    raise AdapterFileError(
        f"{folder.path} does not hold the pretrained encoder that the adapter was trained in, and "
        f"its `model_name` {name!r} is no folder here. Name the encoder's folder: --base=FOLDER"
    )


def _check_fits(folder: AdapterHubFolder, checkpoint: EncoderCheckpoint) -> int:
    """Returns the number of layers of an encoder whose hidden size is the adapter's."""
    hidden_size = checkpoint.config["hidden_size"]
    if hidden_size != folder.hidden_size:
        raise AdapterFileError(
            f"{folder.path} was trained in an encoder of `hidden_size` {folder.hidden_size}; "
            f"{checkpoint.folder} has {hidden_size}"
        )
    return checkpoint.config["num_hidden_layers"]


def _load_base(checkpoint: EncoderCheckpoint) -> Base:
    from keras_adapters.converters.load import load_encoder
    from keras_adapters.original import base_of

    base = base_of(load_encoder(checkpoint))
    assert base is not None  # It is not adapted.
    return base


if __name__ == "__main__":
    main()
