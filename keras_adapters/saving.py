"""Puts what a model's training changed into an adapter file, and into models again.

Plan first, change last: each function finds out all that can be wrong before it changes
anything.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_adapters.adapter_file import (
    AdapterFile,
    AdapterFileError,
    read_adapter,
    write_adapter,
)
from keras_adapters.bindings import binding_of, host_of
from keras_adapters.freezing import freeze
from keras_adapters.head import head_variables
from keras_adapters.methods.method import Method
from keras_adapters.original import Original, insertion_of, is_adapted, original_of
from keras_adapters.planning import Planned, check_method, plan
from keras_adapters.same_base import changed_norms, check_base, known_base, restored_norms
from keras_adapters.splice import take_out_adapters
from keras_adapters.variables import (
    check_inside,
    encoder_variables,
    inserted_parts,
    is_floating,
    name_variables,
    numpy_dtype,
)

_SHOWN = 30  # Lines of an error.


def save_adapter(
    path: str | os.PathLike,
    model: Any,
    encoder: Any,
    metadata: Mapping[str, Any] | None = None,
    dtype: str = "float32",
) -> None:
    """Writes what a model's training changes: adapters, LayerNorms, the head.

    Of the encoder it writes what is inserted, what trains and what training has changed; of
    the rest of the model all variables, those that do not train too. See `adapter_file` for
    what stands there before and after.

    Args:
      path: the folder to write to.
      model: a built model whose encoder a method was applied to, see `freezing`.
      encoder: the encoder in it.
      metadata: further entries for the description, such as the labels, in JSON's types.
      dtype: what is stored: `"float32"`, or half of its bytes as `"float16"` or `"bfloat16"`.

    Raises:
      ValueError: the encoder is not in the model, no method was applied to it although it
        trains, or what it was before is not known; the model trains nothing; or the file could
        not be loaded again: two of the head's variables have one name, a value is not finite or
        beyond the dtype's range, the metadata is not JSON's, or variables of the base have
        changed although they are frozen.
      OSError: it cannot be written.
    """
    write_adapter(path, collect(model, encoder, metadata), dtype)


def collect(
    model: Any,
    encoder: Any,
    metadata: Mapping[str, Any] | None = None,
    *,
    compare_frozen: bool = True,
) -> AdapterFile:
    """Returns what `save_adapter` writes; raises ValueError as it does.

    Before training it tells whether what training will give can be saved.

    Args:
      model: as `save_adapter` takes it.
      encoder: likewise.
      metadata: likewise.
      compare_frozen: whether to look if what is frozen is still the base's, for which all of
        it is read; nothing has changed right after `adapt`.
    """
    check_inside(model, encoder)
    if not model.trainable_variables and not is_adapted(encoder):
        raise ValueError("the model trains no variable, so there is no adapter to save")
    named = encoder_variables(encoder)
    trained = {id(variable) for variable in model.trainable_variables}
    base = known_base(encoder, named, trained)
    kept = {
        name: variable
        for name, variable in named.items()
        if name not in base.digests or id(variable) in trained
    }
    values = {name: variable.numpy() for name, variable in kept.items()}
    if compare_frozen:
        values |= changed_norms(encoder, base, {n: v for n, v in named.items() if n not in kept})
    head = head_variables(model, named, stable=True)
    values |= {name: variable.numpy() for name, variable in head.items()}
    return AdapterFile(
        encoder.method if is_adapted(encoder) else Method(None, "nothing"),
        base,
        values,
        metadata if metadata is not None else {},
        {package: _version(package) for package in binding_of(encoder).PACKAGES},
    )


def load_adapter(
    path: str | os.PathLike,
    model: Any | None,
    encoder: Any,
) -> dict[str, Any]:
    """Loads a saved adapter into an encoder that holds the same pretrained base.

    To an encoder that no method was applied to, the file's is, as `adapt` does it. Into one
    that holds adapters of the same settings, values alone are loaded: models and functions
    that were traced go on with them, at once and without being traced anew. LayerNorms that
    the file does not hold are the base's again. Nothing is changed unless everything fits.

    Where layers are inserted, what the model has traced is traced anew, so that `predict` and
    the like use them; models that hold this one know nothing of it, and must be told by
    `compile`. To train on, compile.

    Args:
      path: the folder that `save_adapter` wrote, or the file in it.
      model: the model whose head the file's head is loaded into; `None` for the encoder alone.
      encoder: a built encoder with the adapter's base.

    Returns:
      The metadata that `save_adapter` was given.

    Raises:
      FileNotFoundError: there is no adapter.
      OSError: it cannot be read.
      AdapterFileError: the file is damaged, of another format or of another base, its adapters
        are not those of the encoder, or names, shapes or types differ (all of them in one
        error).
      ValueError: the encoder is not built or not in the model.
    """
    adapter = read_adapter(path)
    if model is not None:
        check_inside(model, encoder)
    named = encoder_variables(encoder)
    original = original_of(encoder)
    check_base(adapter, encoder, original.base)
    base = encoder_variables(encoder, adapters=False)
    values = adapter.encoder_tensors
    targets = {name: v for name, v in named.items() if name in values or name not in base}
    restored = restored_norms(adapter, encoder, {n: v for n, v in base.items() if n not in values})
    if model is not None:
        values = adapter.tensors
        targets |= head_variables(model, named, stable=adapter.base is not None)
    with binding_of(encoder).sketching():  # Whatever a file's sizes are.
        sketched = _variables_of(_plan_insertion(adapter, encoder))
    values = _fitting(adapter.source, targets | sketched, values)

    planned = _plan_insertion(adapter, encoder)
    targets |= _variables_of(planned)
    _apply_method(encoder, adapter, planned, original)
    for name, variable in targets.items():
        variable.assign(values[name])
    for name, value in restored.items():
        base[name].assign(value)
    if planned:
        binding_of(encoder).trace_anew(encoder if model is None else model)
    return dict(adapter.metadata)


def remove_adapter(encoder: Any, model: Any | None = None) -> Any:
    """Takes the adapters out of an encoder again, in place: it is the base that it was.

    Inserted layers are out, each block has its own dropouts and projections again, the
    LayerNorms have the values that they had when the encoder was adapted, to the bit, it is
    of its own class, and what was frozen before is frozen.

    Args:
      encoder: an encoder that was adapted here, by `adapt`, `add_adapters` or `load_adapter`.
      model: a model that holds it, so that what this model has traced is traced anew.

    Returns:
      The same encoder.

    Raises:
      ValueError: the encoder was not adapted; training has changed more of the base than
        LayerNorms, of which no copy is kept; it was reloaded adapted, so that its own
        LayerNorms are not known; or it is not in the model.
    """
    if model is not None:
        check_inside(model, encoder)
    take_out_adapters(encoder)
    if model is not None:
        binding_of(encoder).trace_anew(model)
    return encoder


def _plan_insertion(adapter: AdapterFile, encoder: Any) -> list[Planned]:
    """Makes the layers that a file's adapters need and the encoder lacks; puts none."""
    present, wanted = insertion_of(encoder), adapter.method.insertion
    if present == wanted:
        return []
    if present is not None:
        raise AdapterFileError(
            f"the encoder's adapters differ from those in {adapter.source}. Take them out with "
            f"`remove_adapter(encoder)` first.\n  encoder: {present}\n  file:    {wanted}"
        )
    try:
        check_method(encoder, adapter.method)
    except ValueError as error:
        raise AdapterFileError(f"{adapter.source} does not fit the encoder: {error}") from error
    return plan(encoder, wanted)


def _apply_method(
    encoder: Any,
    adapter: AdapterFile,
    planned: Sequence[Planned],
    original: Original,
) -> None:
    """Puts the planned layers, and makes a plain encoder one of the file's method."""
    binding = binding_of(encoder)
    if not is_adapted(encoder):
        binding.insert(planned)
        binding.become_adapted(encoder, adapter.method, original)
        freeze(encoder, adapter.method)
        return
    binding.insert(planned)
    method = encoder.method
    binding.become_adapted(
        encoder, Method(adapter.method.insertion, method.trains, method.top_layers), original
    )
    trained = {id(variable) for variable in encoder.trainable_variables}
    norms = {id(v) for norm in host_of(encoder).norms(encoder) for v in norm.weights}
    named = encoder_variables(encoder, adapters=False)
    if any(id(named[n]) not in trained | norms for n in adapter.encoder_tensors if n in named):
        # It changes what the encoder's own method neither trains nor can undo.
        binding.become_adapted(encoder, adapter.method, original)
        freeze(encoder, adapter.method)


def _variables_of(planned: Iterable[Planned]) -> dict[str, Any]:
    return name_variables(
        part for place in planned for part in inserted_parts(place.index, place.site, place.layer)
    )


def _fitting(
    source: str, targets: Mapping[str, Any], values: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Returns a value for each variable, of its type.

    Raises:
      AdapterFileError: a name is missing or extra, or a shape or a type does not fit.
    """
    fitting = {}
    problems = [f"missing: {name}" for name in sorted(set(targets) - set(values))]
    problems += [f"extra: {name}" for name in sorted(set(values) - set(targets))]
    for name in sorted(set(targets) & set(values)):
        value, shape, dtype = values[name], targets[name].shape, numpy_dtype(targets[name])
        floating = is_floating(dtype)
        if list(value.shape) != list(shape):
            problems.append(f"shape of {name}: {list(value.shape)}, not {list(shape)}")
        elif floating != (value.dtype.kind == "f") or (not floating and dtype != value.dtype):
            problems.append(f"type of {name}: {value.dtype}, not {dtype.name}")
        else:
            with np.errstate(over="ignore"):
                fitting[name] = value.astype(dtype)
            if not np.isfinite(fitting[name]).all():
                problems.append(f"{name} holds values beyond {dtype.name}")
    if len(problems) > _SHOWN:
        problems[_SHOWN:] = [f"and {len(problems) - _SHOWN} more"]
    if problems:
        raise AdapterFileError(f"{source} does not fit the model:\n  " + "\n  ".join(problems))
    return fitting


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
