"""What an adapted encoder holds, and how many parameters are trained."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from keras_adapters.bindings import binding_of, host_of
from keras_adapters.host import inserted_at
from keras_adapters.methods.method import Method
from keras_adapters.original import method_of
from keras_adapters.variables import check_inside, encoder_variables


@dataclasses.dataclass(frozen=True)
class ParameterCounts:
    """Numbers of parameters of one task's model.

    Args:
      base: the pretrained encoder alone.
      total: encoder, adapters and head.
      trained: those that training changes, and that each further task adds.
    """

    base: int
    total: int
    trained: int

    @property
    def trained_percent(self) -> float:
        """What training changes, in percent of the total."""
        return 100 * self.trained / self.total

    def times_base(self, tasks: int) -> float:
        """Parameters for `tasks` tasks together, as a multiple of the encoder alone.

        What is frozen is stored once and what is trained once per task ("total num
        params" of the paper's Table 1: 9.0x for nine fine-tuned copies).

        Raises:
          ValueError: `tasks` is below 1.
        """
        if tasks < 1:
            raise ValueError(f"`tasks` must be at least 1. Received: tasks={tasks}")
        return (self.total - self.trained + tasks * self.trained) / self.base


def count_parameters(model: Any, encoder: Any) -> ParameterCounts:
    """Counts the parameters of a built model whose encoder a method was applied to.

    Args:
      model: the model of one task.
      encoder: the encoder in it.

    Returns:
      The counts.

    Raises:
      ValueError: the encoder is of a class that is not known, is not built or not in the model.
    """
    check_inside(model, encoder)
    return ParameterCounts(
        base=_size(encoder_variables(encoder, adapters=False).values()),
        total=_size(binding_of(model, "model").state_of(model)),
        trained=_size(model.trainable_variables),
    )


@dataclasses.dataclass(frozen=True)
class AdapterSummary:
    """What an encoder holds; `str` of it is a table.

    Args:
      encoder: the name of the encoder's own class.
      method: the method that was applied to it, or None.
      blocks: for each layer, its sites' names and the parameters of what stands there, 0
        where nothing does. The layers of an ALBERT all show what they share.
      inserted: parameters of all inserted layers.
      trained: parameters that train, of the encoder alone.
      total: parameters of the encoder, with what is inserted.
    """

    encoder: str
    method: Method | None
    blocks: tuple[tuple[tuple[str, int], ...], ...]
    inserted: int
    trained: int
    total: int

    def __str__(self) -> str:
        rows = [("encoder", self.encoder)]
        if self.method is None:
            rows.append(("method", "none"))
        else:
            rows.append(("method", f"{self.method.name}: {self.method.summary}"))
            rows.append(("trains", self.method.trains.replace("_", " ")))
            rows.append(("inserted", str(self.method.insertion or "nothing")))
        for index, sites in enumerate(self.blocks):
            text = ", ".join(f"{name} {count or '-'}" for name, count in sites)
            rows.append((f"layer {index}", text))
        for name in ("inserted", "trained", "total"):
            rows.append((f"parameters {name}", f"{getattr(self, name):,}"))
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)


def adapter_summary(encoder: Any) -> AdapterSummary:
    """Says what an encoder holds: the method, what is inserted where, how much trains.

    Args:
      encoder: a built encoder that a host knows; one that no
        method was applied to has the method `None` and nothing at its sites.

    Returns:
      The summary; print it.

    Raises:
      ValueError: the encoder is of another class, or is not built.
    """
    host = host_of(encoder)
    base = _size(encoder_variables(encoder, adapters=False).values())
    total = _size(encoder_variables(encoder).values())
    blocks = tuple(
        tuple(
            (site.name, layer.count_params() if (layer := inserted_at(site)) else 0)
            for site in host.sites(block)
        )
        for block in host.blocks(encoder)
    )
    return AdapterSummary(
        encoder=host.encoder_class.__name__,
        method=method_of(encoder),
        blocks=blocks,
        inserted=total - base,
        trained=_size(encoder.trainable_variables),
        total=total,
    )


def _size(variables: Iterable[Any]) -> int:
    return sum(math.prod(variable.shape) for variable in variables)
