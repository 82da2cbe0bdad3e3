"""Whether an adapter file fits the room that a model has for tasks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import tf_keras

from keras_adapters.adapter_file import HEAD, AdapterFile, AdapterFileError
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from keras_adapters.model_garden.hosts.table import host_of
from keras_adapters.model_garden.task_layers import POOLINGS, STACKED, Stack


@dataclasses.dataclass(frozen=True)
class Room:
    """The room for one task in a model of many.

    Args:
      encoder: the base.
      insertion: the most that a task can insert, or `None`.
      stacks: by the names that adapter files use, and of the head `head/kernel`, `head/bias`,
        `head/count` (its outputs) and `head/pooling` (an index of `POOLINGS`).
      poolings: which of `POOLINGS` the base computes.
    """

    encoder: tf_keras.layers.Layer
    insertion: AdapterConfig | None
    stacks: Mapping[str, Stack]
    poolings: tuple[str, ...]

    def fitted(self, adapter: AdapterFile, pooling: str | None) -> dict[str, np.ndarray]:
        """Returns a file's weights by the names of their stacks.

        Args:
          adapter: the file.
          pooling: what its head reads; `None` is what its metadata says.

        Raises:
          AdapterFileError: it does not fit; all that does not is in the error.
          ValueError: the pooling is unknown.
        """
        problems = [*self._misfits(adapter.method)]
        expected = {} if problems else dict(self._expected(adapter.method.insertion))
        inside = adapter.encoder_tensors
        problems += [f"it lacks {name}" for name in sorted(set(expected) - set(inside))]
        for name, value in inside.items():
            problems += self._misfit(name, value, expected.get(name))
        head = self._head(adapter, pooling, problems)
        if problems:
            raise AdapterFileError(
                f"{adapter.source} does not fit the model:\n  " + "\n  ".join(problems)
            )
        return inside | head

    def _misfits(self, method: Method) -> Iterator[str]:
        """Says why a method's files have no room."""
        if method.trains not in ("nothing", "layer_norms"):
            yield (
                f"its method {method.name!r} trains {method.trains.replace('_', ' ')} of the base, "
                "and the tasks share one base: only LayerNorms can be a task's own"
            )
        wanted, room = method.insertion, self.insertion
        if wanted is None:
            return
        if type(wanted) is not type(room):
            kinds = [type(each).__name__ if each else "nothing" for each in (wanted, room)]
            yield f"it inserts {kinds[0]}, and the room is for {kinds[1]}"
            return
        yield from STACKED[type(room)].misfits(wanted, room)
        blocks = range(len(host_of(self.encoder).blocks(self.encoder)))
        layers = [set(blocks if each.layers is None else each.layers) for each in (wanted, room)]
        for what, beyond in (
            ("layers", layers[0] - layers[1]),
            ("places", set(wanted.places) - set(room.places)),
        ):
            if beyond:
                yield f"it has adapters in the {what} {sorted(beyond)}, and the room has none there"

    def _expected(self, insertion: AdapterConfig | None) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yields names and shapes of all that files of these settings must hold."""
        host = host_of(self.encoder)
        seen = set()
        for index, block in enumerate(host.blocks(self.encoder) if insertion else ()):
            chosen = insertion.layers is None or index in insertion.layers
            if not chosen or id(block) in seen:
                continue
            seen.add(id(block))
            for site in host.sites(block):
                if site.place in insertion.places:
                    of_layer = insertion.of_layer(index)
                    shapes = STACKED[type(insertion)].shapes(of_layer, site.width)
                    for leaf, shape in shapes.items():
                        yield f"layer_{index}/{site.name}/adapter/{leaf}", shape

    def _misfit(
        self, name: str, value: np.ndarray, expected: tuple[int, ...] | None = None
    ) -> Iterator[str]:
        """Says why one weight has no room."""
        if name not in self.stacks:
            yield f"there is no room for {name}"
        elif value.dtype.kind != "f":
            yield f"{name} is of type {value.dtype.name}, and the room is for floats"
        elif expected is not None and value.shape != expected:
            yield f"{name} has the shape {list(value.shape)}, not {list(expected)}"
        elif not self.stacks[name].fits(value.shape):
            room = list(self.stacks[name].base.shape)
            yield f"{name} has the shape {list(value.shape)}, and the room is {room}"

    def _head(
        self, adapter: AdapterFile, pooling: str | None, problems: list[str]
    ) -> dict[str, np.ndarray]:
        """Returns the weights of a file's head, and adds what does not fit to the problems."""
        if pooling is not None and pooling not in POOLINGS:
            raise ValueError(f"`pooling` must be one of {POOLINGS}. Received: {pooling!r}")
        held = adapter.head_tensors
        if not held:
            return {}
        layers = {name.rpartition("/")[0] for name in held}
        leaves = {name.rpartition("/")[2]: value for name, value in held.items()}
        if len(layers) != 1 or "kernel" not in leaves or set(leaves) - {"kernel", "bias"}:
            problems.append(
                f"its head must be one dense layer, a kernel and maybe a bias; it holds "
                f"{', '.join(sorted(held))}"
            )
            return {}
        pooling = pooling or self._told(adapter, problems)
        if pooling is not None and pooling not in self.poolings:
            problems.append(
                f"its head reads the output {pooling!r}, which the encoder does not compute (its "
                "`output_range` may not be all)"
            )
        leaves.setdefault("bias", np.zeros(leaves["kernel"].shape[-1:], np.float32))
        found = [self._misfit(HEAD + leaf, value) for leaf, value in leaves.items()]
        found = [line for lines in found for line in lines]
        if not found and leaves["bias"].shape != leaves["kernel"].shape[1:]:
            found = [f"its head's bias has the shape {list(leaves['bias'].shape)}"]
        problems += found
        if problems:
            return {}
        leaves["count"] = np.float32(leaves["kernel"].shape[-1])
        leaves["pooling"] = np.float32(POOLINGS.index(pooling))
        return {HEAD + leaf: np.asarray(value, np.float32) for leaf, value in leaves.items()}

    def _told(self, adapter: AdapterFile, problems: list[str]) -> str | None:
        """Returns the pooling that a file's metadata tells."""
        told = adapter.metadata.get("pooling", adapter)
        if told is adapter:
            problems.append(
                f"its metadata does not say what its head reads: give `pooling`, one of {POOLINGS}"
            )
        elif told not in POOLINGS:
            problems.append(
                f"its head reads each position, or else ({told!r}); there is room for heads that "
                f"read one vector a text, {' or '.join(POOLINGS)}"
            )
        return told if told in POOLINGS else None
