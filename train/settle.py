"""Fills in what a run's settings leave open: by the task's recipe, the method and the encoder."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import pathlib

from keras_adapters.adapter_file import AdapterFile, read_adapter
from keras_adapters.fingerprint import digest_all
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import METHODS, Method
from train.adapter_flags import as_flags, label
from train.config import NO_BERT, RunConfig
from train.config_parts import DeviceConfig
from train.encoders.find import EncoderFiles
from train.fit.workers import has_local_tpu, several_workers
from train.tasks.recipes import Recipe
from train.tasks.table import TASKS

_EPOCHS = 3
_OF_SEARCHES = ("optuna", "skops")  # Packages that nothing else needs.


def settle(config: RunConfig, encoder: EncoderFiles | None) -> RunConfig:
    """Fills in what was left open and checks what the task and the encoder decide.

    Args:
      config: a run's settings.
      encoder: the files of `config.model.encoder`; `None` of a search, which has no encoder.

    Returns:
      The settings with a method, numbers, and the pooling that the head takes: `None` where
      it reads every position. What the devices decide is left open.

    Raises:
      ValueError: a setting does not fit the task or the encoder; the text names the flag.
      FileNotFoundError: a file of the task is not there.
    """
    if config.search is not None:
        return _settle_search(config)
    task = TASKS[config.task]
    recipe = task.recipe_for(config.model.encoder)
    init = _read_init_adapter(config)
    method = config.method or Method.of(init.method.insertion if init else _adapters(recipe))
    fit, model, keep = config.fit, config.model, config.keep
    known = recipe.rate_for(method.name) if recipe else None
    rate = known or METHODS[method.name].learning_rate
    epochs = recipe.epochs if known else _EPOCHS
    longest = encoder.config["max_position_embeddings"]
    feature_cache = _feature_cache(config, method)
    settled = dataclasses.replace(
        config,
        method=method,
        fit=dataclasses.replace(
            fit,
            learning_rate=fit.learning_rate or rate,
            epochs=fit.epochs or epochs,
            pack=_pack(config, method, feature_cache),
        ),
        model=dataclasses.replace(
            model,
            pooling=_pooling(config, encoder),
            head_dropout=(
                task.form.head_dropout if model.head_dropout is None else model.head_dropout
            ),
            max_seq_length=model.max_seq_length or min(task.form.seq_length, longest),
        ),
        keep=dataclasses.replace(
            keep,
            output_dir=_output_dir(config, _name(config, method)),
            feature_cache=feature_cache,
        ),
    )
    _check_against_encoder(settled, encoder)
    _check_against_workers(settled)
    config.files.check()
    return settled


def _settle_search(config: RunConfig) -> RunConfig:
    lacking = [name for name in _OF_SEARCHES if importlib.util.find_spec(name) is None]
    if lacking:
        raise ValueError(
            f"--method={NO_BERT} needs {' and '.join(lacking)}: pip install "
            "'keras-adapters[no-bert]'"
        )
    config.files.check()
    output = _output_dir(config, f"{config.task}-{NO_BERT}-seed{config.fit.seed}")
    return dataclasses.replace(config, keep=dataclasses.replace(config.keep, output_dir=output))


def _output_dir(config: RunConfig, name: str) -> str:
    """Returns where a run of a name goes; it may stand there if it is a folder."""
    folder = config.keep.output_dir or str(pathlib.Path("runs", name))
    if os.path.isfile(folder):
        raise ValueError(f"--output_dir must name a folder. Received: {folder!r}")
    return folder


def _adapters(recipe: Recipe | None) -> AdapterConfig:
    return AdapterConfig(recipe.adapter_size) if recipe else AdapterConfig()


def _read_init_adapter(config: RunConfig) -> AdapterFile | None:
    """Reads --init_adapter, if it is given, and checks that the method inserts what it holds."""
    path = config.model.init_adapter
    if path is None:
        return None
    try:
        init = read_adapter(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"--init_adapter={path} cannot be read: {error}") from error
    inserted = config.method.insertion if config.method else init.method.insertion
    if inserted != init.method.insertion or (config.method is None and inserted is None):
        raise ValueError(
            f"--init_adapter={path} holds {init.method.insertion or 'no adapters'}, but the run's "
            f"method inserts {inserted or 'other adapters'}. Give both the same settings"
        )
    return init


def init_checksum(config: RunConfig) -> str | None:
    """Returns a checksum of what the adapter to start from holds, if there is one.

    Raises:
      OSError, ValueError: as `keras_adapters.adapter_file.read_adapter` says.
    """
    path = config.model.init_adapter
    return None if path is None else digest_all(read_adapter(path).tensors)


def _check_against_encoder(config: RunConfig, encoder: EncoderFiles) -> None:
    form = TASKS[config.task].form
    shortest = form.shortest(form.columns or len(config.files.text_columns))
    longest = encoder.config["max_position_embeddings"]
    if shortest > longest:
        raise ValueError(
            f"--encoder={config.model.encoder} takes {longest} tokens at most, but "
            f"--task={config.task} needs {shortest}. Name an encoder of longer sequences"
        )
    if not shortest <= config.model.max_seq_length <= longest:
        raise ValueError(
            f"--max_seq_length must be {shortest} to {longest}: --task={config.task} needs the "
            f"first, and the encoder's longest sequence is the second. "
            f"Received: {config.model.max_seq_length}"
        )
    try:
        config.method.check_blocks(encoder.config["num_hidden_layers"])
    except ValueError as error:
        given = "--top_layers" if config.method.top_layers is not None else "--method"
        raise ValueError(f"{given} does not fit the encoder: {as_flags(str(error))}") from error


def _check_against_workers(config: RunConfig) -> None:
    keeps = getattr(config.method.insertion, "keeps_statistics", False)
    if keeps and several_workers(config.device.strategy, config.device.tpu):
        raise ValueError(
            "--adapter_norm=batch goes with one worker: its moving statistics are those of all "
            "replicas, and the worker that writes the files cannot read the others' alone"
        )


def _pooling(config: RunConfig, encoder: EncoderFiles) -> str | None:
    pooling = config.model.pooling
    if TASKS[config.task].form.pools:
        return encoder.pooling if pooling in ("auto", None) else pooling
    if pooling not in ("auto", None):
        raise ValueError(
            f"--pooling={pooling} goes with tasks whose head reads one vector per text. The head "
            f"of --task={config.task} reads every position; leave out --pooling"
        )
    return None


def _feature_cache(config: RunConfig, method: Method) -> str:
    """Returns the folder that keeps features; empty where none are kept."""
    given, obstacle = config.keep.feature_cache, None
    if method.name != "feature_based":
        obstacle = f"--method=feature_based, not {method.name}"
    elif not TASKS[config.task].form.pools:
        obstacle = f"tasks whose head reads one vector per text, not --task={config.task}"
    elif not _is_one_machine(config.device):
        obstacle = "the CPU or the GPUs of one machine, not a TPU or several workers"
    if obstacle and given:
        raise ValueError(f"--feature_cache={given} goes with {obstacle}; leave it out")
    if obstacle or given == "":
        return ""
    if given is None:
        caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        given = os.path.join(caches, "keras_adapters", "features")
    if os.path.lexists(given) and not os.path.isdir(given):
        raise ValueError(f"--feature_cache must name a folder. Received: {given!r}")
    return given


def _pack(config: RunConfig, method: Method, feature_cache: str) -> bool:
    """Returns whether texts share rows: where they can, if nothing else is said."""
    insertion, obstacle = method.insertion, None
    if not TASKS[config.task].form.pools:
        obstacle = f"tasks whose head reads one vector per text, not --task={config.task}"
    elif feature_cache:
        obstacle = "an encoder that is run in each step: give --feature_cache= too"
    elif getattr(insertion, "needs_all_positions", False):
        obstacle = "adapters without --adapter_gate, which averages over all texts of a row"
    elif getattr(insertion, "keeps_statistics", False):
        obstacle = "adapters without --adapter_norm=batch, whose statistics depend on the rows"
    if obstacle and config.fit.pack:
        raise ValueError(f"--pack goes with {obstacle}")
    if config.fit.pack is None and method.name == "feature_based":
        return False  # So that a run can go on with features that are kept, or without.
    return config.fit.pack is not False and not obstacle


def _is_one_machine(device: DeviceConfig) -> bool:
    """Whether training, and the reading of its data, is in this process and on no TPU."""
    if several_workers(device.strategy, device.tpu):
        return False
    return device.strategy in ("one_device", "mirrored") or not (device.tpu or has_local_tpu())


def _name(config: RunConfig, method: Method) -> str:
    detail = method.top_layers or ""
    if isinstance(method.insertion, AdapterConfig):
        detail = label(method.insertion)
    if method.insertion is not None and method.trains == "nothing":
        detail = f"{detail}_frozen_norms"
    return f"{config.task}-{method.name}{detail}-seed{config.fit.seed}"
