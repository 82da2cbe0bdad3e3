"""What layers inside a model give, found out by one call of the model that computes nothing."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras

# What dimensions without a size are in the calls: in the first pair of which both can be called.
_SIZES = ((8, 12), (32, 48), (128, 192), (224, 256))


@dataclasses.dataclass(frozen=True)
class Output:
    """What a layer gives, in all of a model's calls of it.

    Args:
      width: features of its one float tensor, `<float>[..., width]`; None where the output is
        another, or not of the same width at each call and for all sizes of the inputs.
      gives_that_of: layers inside of it whose output it gives unchanged.
      shown: the shapes and dtypes of its outputs, for an error.
    """

    width: int | None
    gives_that_of: tuple[keras.layers.Layer, ...]
    shown: str


def outputs_of(
    model: keras.Model, layers: Iterable[keras.layers.Layer]
) -> dict[keras.layers.Layer, Output]:
    """Returns what layers inside a built model give, in the order in which they give it.

    Args:
      model: a model. What it takes is known of a functional or sequential one, of one that was
        called on a `keras.Input`, and mostly of one that was called on arrays.
      layers: the layers; those that the model does not call are left out.

    Raises:
      ValueError: what the model takes is not known well enough to call it.
    """
    layers = list(layers)
    errors: list[Exception] = []
    for args, kwargs in _arguments(model):
        tensors = filter(_is_symbolic, keras.tree.flatten((args, kwargs)))
        flexible = any(None in x.shape[1:] for x in tensors)
        for sizes in _SIZES if flexible else (_SIZES[0][:1],):
            try:
                calls = [_watched(model, layers, *_sized((args, kwargs), size)) for size in sizes]
            # Whatever a model raises that was not made for such inputs.
            except Exception as error:
                # Keras explains at length what the model raised.
                errors.append(error.__context__ or error)
            else:
                return _merged(calls)
    reason = repr(errors[0]).partition("\\n")[0] if errors else "one whose inputs are not known"
    raise ValueError(
        f"`encoder` could not be called to see what its layers give. Call {model.name!r} once on "
        "what it takes, such as `model(keras.Input((None,), dtype='int32'))`. Received: "
        f"{reason}"
    )


def _arguments(model: keras.Model) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Yields what a model could be called on, as far as it is known, the likeliest first."""
    if getattr(model, "inputs", None):
        is_graph = hasattr(model, "_inputs_struct")
        yield (model._inputs_struct if is_graph else model.inputs[0],), {}
        return
    for node in model._inbound_nodes:
        yield node.arguments.args, node.arguments.kwargs
    for dtype in (model.compute_dtype, "int32"):
        shapes = (model._build_shapes_dict or {}).values()
        yield tuple(_tensors(shape, dtype) for shape in shapes), {}


def _tensors(shape: Any, dtype: str) -> Any:
    """Returns tensors of a shape, or of a dictionary, list or tuple of shapes."""
    if isinstance(shape, dict):
        return {name: _tensors(value, dtype) for name, value in shape.items()}
    if all(isinstance(size, int | None) for size in shape):
        return keras.KerasTensor((None, *shape[1:]), dtype)
    return type(shape)(_tensors(value, dtype) for value in shape)


def _sized(arguments: Any, size: int) -> Any:
    """Returns tensors as these, with two rows and this size where they have none."""

    def sized(x: Any) -> Any:
        if not _is_symbolic(x):
            return x
        shape = (2, *(size if known is None else known for known in x.shape[1:]))
        return keras.KerasTensor(shape, x.dtype)

    return keras.tree.map_structure(sized, arguments)


def _is_symbolic(x: Any) -> bool:
    return isinstance(x, keras.KerasTensor)


# Layers by their ids. What each call of one gave: a tensor's shape and dtype, or a text about
# what else it is. And the layers inside of it whose output it gave.
_Calls = dict[int, tuple[keras.layers.Layer, list[Any], list[keras.layers.Layer]]]


def _watched(
    model: keras.Model, layers: list[keras.layers.Layer], args: Any, kwargs: Any
) -> _Calls:
    """Returns what layers give in one call of a model, in the order in which they do."""
    calls: _Calls = {}
    given: dict[int, list[Any]] = {}

    def run(*args: Any, **kwargs: Any) -> Any:
        # PyTorch's backend tries a second time where a first try fails.
        calls.clear()
        given.clear()
        outputs = model(*args, **kwargs)
        given.clear()
        return outputs

    def note(layer: keras.layers.Layer, output: Any) -> None:
        _, shapes, same = calls.setdefault(id(layer), (layer, [], []))
        is_tensor = keras.ops.is_tensor(output)
        told = f"a {type(output).__name__}"
        shapes.append((tuple(output.shape), _dtype(output)) if is_tensor else told)
        within = {id(inner) for inner in layer._flatten_layers(include_self=False)}
        for inner, tensors in given.items():
            if inner in within and any(tensor is output for tensor in tensors):
                same.append(calls[inner][0])
        given.setdefault(id(layer), []).append(output)

    with _noting(layers, note):
        _Run(run).compute_output_spec(*args, **kwargs)
    return calls


class _Run(keras.layers.Layer):
    """A layer that only calls a function, so that Keras can find out what comes of it."""

    def __init__(self, run: Callable[..., Any]) -> None:
        super().__init__()
        object.__setattr__(self, "run", run)

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Returns what the function returns."""
        return self.run(*args, **kwargs)


@contextlib.contextmanager
def _noting(
    layers: list[keras.layers.Layer], note: Callable[[keras.layers.Layer, Any], None]
) -> Iterator[None]:
    """Tells of each output of layers, until it ends."""

    def noting(layer: keras.layers.Layer) -> Callable[..., Any]:
        call = layer.call

        def noted(*args: Any, **kwargs: Any) -> Any:
            output = call(*args, **kwargs)
            note(layer, output)
            return output

        return noted

    for layer in layers:
        object.__setattr__(layer, "call", noting(layer))
    try:
        yield
    finally:
        for layer in layers:
            object.__delattr__(layer, "call")


def _merged(calls: list[_Calls]) -> dict[keras.layers.Layer, Output]:
    """Returns the outputs of layers, from calls of the model for inputs of several sizes."""
    merged = {}
    for key, (layer, _, same) in calls[0].items():
        outputs = [output for call in calls if key in call for output in call[key][1]]
        widths = {_width(output) for output in outputs}
        shown = ", ".join(dict.fromkeys(map(_shown, outputs)))
        merged[layer] = Output(widths.pop() if len(widths) == 1 else None, tuple(same), shown)
    return merged


def _width(output: Any) -> int | None:
    if isinstance(output, str):
        return None
    shape, dtype = output
    return shape[-1] if len(shape) > 1 and "float" in dtype else None


def _dtype(tensor: Any) -> str:
    return keras.backend.standardize_dtype(tensor.dtype)


def _shown(output: Any) -> str:
    return output if isinstance(output, str) else f"<{output[1]}>{list(output[0])}"
