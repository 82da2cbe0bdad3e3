"""Which variables train under each transfer method, and how many they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import tf_keras

from keras_adapters.model_garden.hosts.host import NORMS, blocks_of, pooler_of, shares_blocks
from keras_adapters.model_garden.layers import BottleneckAdapter
from keras_adapters.model_garden.variables import encoder_variables, own_variables

METHODS = ("adapters", "full", "top_layers", "feature_based", "layer_norm")


def set_trainable(
    model: tf_keras.Model,
    encoder: tf_keras.layers.Layer,
    method: str = "adapters",
    top_layers: int | None = None,
) -> None:
    """Makes trainable what a transfer method trains, and freezes everything else.

    What lies in `model` outside `encoder` is the task's head and always trains. Inside:

    | method          | trains                                                          |
    |-----------------|-----------------------------------------------------------------|
    | `adapters`      | adapters and every LayerNorm, the embeddings' too               |
    | `full`          | everything                                                      |
    | `top_layers`    | the top n blocks and the pooler ("variable fine-tuning")        |
    | `feature_based` | nothing                                                         |
    | `layer_norm`    | every LayerNorm                                                 |

    Frozen variables are in `model.non_trainable_variables` and get no gradient and no
    optimiser slot. Compile the model afterwards, as Keras asks. MobileBERT's `NoNorm`, a
    LayerNorm's scale and shift without its statistics, counts as a LayerNorm.

    Args:
      model: a built model that holds the encoder.
      encoder: an encoder of one of the classes `hosts.HOSTS`, adapted for the method
        `adapters`.
      method: one of `METHODS`.
      top_layers: n of the method `top_layers`, 1 to the number of blocks.

    Raises:
      ValueError: the encoder is of another class, the method is unknown, it needs adapters
        that are not there, or `top_layers` does not fit the method or the encoder.

    Reference:
      Houlsby et al. 2019, sections 2.1 and 3.
    """
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {METHODS}. Received: method={method!r}")
    blocks = blocks_of(encoder)
    if (method == "top_layers") != (top_layers is not None):
        raise ValueError(
            "`top_layers` goes with the method 'top_layers' and with no other. "
            f"Received: method={method!r}, top_layers={top_layers!r}"
        )
    if top_layers is not None and not 1 <= top_layers <= len(blocks):
        raise ValueError(
            f"`top_layers` must be 1 to {len(blocks)}, the encoder's number of blocks. "
            f"Received: top_layers={top_layers}"
        )
    if top_layers is not None and shares_blocks(blocks):
        raise ValueError(
            f"the method 'top_layers' needs layers of their own. {type(encoder).__name__}'s "
            f"{len(blocks)} layers share one block"
        )
    inside = _owners([encoder])
    adapters = _owners(
        layer for layer in encoder.submodules if isinstance(layer, BottleneckAdapter)
    )
    if method == "adapters" and not adapters:
        raise ValueError(
            "the method 'adapters' needs an encoder with adapters. "
            "Call `keras_adapters.model_garden.add_adapters(encoder, config)` first."
        )
    norms = {layer for layer in inside if isinstance(layer, NORMS)}
    pooler = pooler_of(encoder)
    trained = {
        "adapters": lambda: adapters | norms,
        "full": lambda: inside,
        "top_layers": lambda: _owners([*blocks[-top_layers:], *([pooler] if pooler else [])]),
        "feature_based": set,
        "layer_norm": lambda: norms,
    }[method]()
    # A layer hides its children's variables while it is frozen itself, so all that hold
    # others stay trainable and only the layers that own variables are switched.
    model.trainable = True
    for layer in inside - trained:
        layer.trainable = False


def _owners(layers: Iterable[tf_keras.layers.Layer]) -> set[tf_keras.layers.Layer]:
    """Returns the layers in these, themselves included, that hold variables themselves."""
    return {
        owner
        for layer in layers
        for owner in (layer, *layer.submodules)
        if isinstance(owner, tf_keras.layers.Layer) and own_variables(owner)
    }


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


def count_parameters(model: tf_keras.Model, encoder: tf_keras.layers.Layer) -> ParameterCounts:
    """Counts the parameters of a built model whose `set_trainable` was called.

    Args:
      model: the model of one task.
      encoder: the encoder in it.

    Returns:
      The counts.
    """

    def size(variables: Iterable) -> int:
        return sum(variable.shape.num_elements() for variable in variables)

    return ParameterCounts(
        base=size(encoder_variables(encoder, adapters=False).values()),
        total=size(model.variables),
        trained=size(model.trainable_variables),
    )
