"""Applies a transfer method to an encoder: `adapt`, and its half that freezes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from keras_adapters.bindings import binding_of, host_of
from keras_adapters.host import inner_layers
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import METHODS, Method
from keras_adapters.original import insertion_of, is_adapted, original_of
from keras_adapters.planning import check_method, plan
from keras_adapters.splice import check_no_adapters
from keras_adapters.variables import check_inside, owners, switch


def adapt(
    encoder: Any,
    method: Method | AdapterConfig | str,
    sites: str | Sequence[str] | None = None,
) -> Any:
    """Applies a transfer method to an encoder, in place: inserts its layers and freezes the rest.

    What lies outside of the encoder is plain Keras: the head trains as its layers say. The
    encoder may hold restored weights already, and be part of a model that is not compiled
    yet; an encoder knows nothing of the models that it is in. Its class becomes a subclass
    whose config tells of the method, so that what is frozen stays frozen through saving,
    reloading and cloning.

    An encoder that was adapted may be adapted again with the same insertion, which only
    changes what trains; a name then means the insertion that is there.

    Args:
      encoder: an encoder of tf-models-official (`model_garden.hosts.table.HOSTS`), a backbone of
        KerasHub (`keras_hub.hosts.table.HOSTS`), also inside of a task, or with `sites` any
        built Keras 3 model.
      method: a `Method`, the name of a row of `METHODS`, or the settings of what to insert,
        such as an `AdapterConfig`, for the row that inserts it.
      sites: of a Keras 3 model, the layers to insert something behind: a pattern of their
        paths, as `fnmatch` has it, or several; see `keras_hub.hosts.sites`. By default, the
        sub-layers that the class's host knows.

    Returns:
      The same encoder.

    Raises:
      ValueError: the encoder is of another class, is itself a compiled model, or holds other
        adapters than the method's; the method is none, or does not fit the encoder; a pattern
        matches no layer, or one that cannot be a site.

    Example:
    >>> encoder = adapt(load_encoder("uncased_L-12_H-768_A-12"), AdapterConfig(64))
    >>> pooled = encoder(encoder.inputs)["pooled_output"]
    >>> model = tf_keras.Model(encoder.inputs, tf_keras.layers.Dense(3)(pooled))

    Reference:
      Houlsby et al. 2019, sections 2.1 and 3.
    """
    binding = binding_of(encoder)
    if sites is None or binding.sites_of(encoder) == _listed(sites):
        return _adapt(encoder, method)
    if is_adapted(encoder):
        raise ValueError(
            "`sites` of an adapted model must be those that it has. Take its adapters out with "
            f"`remove_adapter(encoder)` first. Received: sites={sites!r}, not "
            f"{binding.sites_of(encoder)}"
        )
    binding.choose_sites(encoder, sites)
    try:
        return _adapt(encoder, method)
    except Exception:
        binding.choose_sites(encoder, None)
        raise


def _listed(sites: str | Sequence[str]) -> list[str]:
    return [sites] if isinstance(sites, str) else list(sites)


def _adapt(encoder: Any, method: Method | AdapterConfig | str) -> Any:
    host_of(encoder)
    method = _meant(encoder, method)
    present = insertion_of(encoder)
    if method.insertion != present:
        check_no_adapters(encoder)
    check_method(encoder, method)
    binding = binding_of(encoder)
    binding.check_not_compiled(encoder)
    binding.build(encoder)
    original = original_of(encoder)
    if method.insertion != present:
        binding.insert(plan(encoder, method.insertion))
    binding.become_adapted(encoder, method, original)
    freeze(encoder, method)
    binding.trace_anew(encoder)
    return encoder


def set_trainable(
    model: Any,
    encoder: Any,
    method: Method | AdapterConfig | str = "adapters",
) -> None:
    """Makes trainable what a transfer method trains, and freezes everything else.

    What lies in `model` outside `encoder` is the task's head and always trains, but for
    other encoders, which stay as they are. Inside, what the method inserts trains, and of
    the base:

    | method          | trains                                                          |
    |-----------------|-----------------------------------------------------------------|
    | `adapters`      | every LayerNorm, the embeddings' too                            |
    | `full`          | everything, also what another method inserted                   |
    | `top_layers`    | the top n blocks and what is above ("variable fine-tuning")      |
    | `feature_based` | nothing                                                         |
    | `layer_norm`    | every LayerNorm                                                 |

    Frozen variables are in `model.non_trainable_variables` and get no gradient and no
    optimiser slot, also where the head holds them too, as a masked language model holds the
    word embeddings. Compile the model afterwards. MobileBERT's `NoNorm`, a LayerNorm's scale
    and shift without its statistics, counts as a LayerNorm.

    Args:
      model: a model that holds the encoder; the encoder itself is one.
      encoder: a built encoder of one of the classes in `hosts.table.HOSTS`, with the layers
        that the method inserts.
      method: a `Method`, the name of a row of `METHODS` (`adapters` means the adapters that
        are there), or an `AdapterConfig`.

    Raises:
      ValueError: the encoder is of another class, is not built or not in the model; the model
        is compiled, so that it would go on training what it did; the method is unknown, needs
        adapters that are not there, or does not fit the encoder.

    Reference:
      Houlsby et al. 2019, sections 2.1 and 3.
    """
    host_of(encoder)
    meant = _meant(encoder, method)
    present = insertion_of(encoder)
    if meant.insertion is not None and meant.insertion != present:
        raise ValueError(
            f"the method {meant.name!r} needs an encoder with adapters of its settings. Call "
            "`keras_adapters.adapt(encoder, method)`, or `add_adapters(encoder, config)` first.\n"
            f"  encoder: {present}\n  method:  {meant.insertion}"
        )
    check_method(encoder, meant)
    check_inside(model, encoder)
    binding = binding_of(encoder)
    binding.check_not_compiled(model)
    binding.become_adapted(
        encoder, Method(present, meant.trains, meant.top_layers), original_of(encoder)
    )
    _train_head(model, encoder)
    freeze(encoder, meant)
    binding.share_trainability(model, encoder)
    binding.trace_anew(model)


def _meant(encoder: Any, method: Method | AdapterConfig | str) -> Method:
    """Returns the method that is meant, in view of what the encoder holds."""
    if isinstance(method, str) and method in METHODS:
        present = insertion_of(encoder)
        if present is not None and type(present) is METHODS[method].insertion:
            return Method.named(method, present)
    return Method.of(method)


def freeze(encoder: Any, method: Method) -> None:
    """Makes an encoder with what a method inserts train what it trains, and nothing else."""
    host = host_of(encoder)
    inside = owners([encoder])
    trained: Iterable[Any] = {
        "nothing": list,
        "layer_norms": lambda: host.norms(encoder),
        "top_layers": lambda: owners(
            [
                *host.blocks(encoder)[-(method.top_layers or 0) :],
                *(layer for _, layer in host.top_parts(encoder)),
            ]
        ),
        "all": lambda: inside,
    }[method.trains]()
    kept = {id(layer) for layer in trained}
    if method.insertion is not None:
        is_inserted = binding_of(encoder).is_inserted
        added = [layer for layer in inner_layers(encoder) if is_inserted(layer)]
        kept |= {id(layer) for layer in owners(added)}
    # A layer hides its children's variables while it is frozen itself, so all that hold
    # others stay trainable and only the layers that own variables are switched.
    encoder.trainable = True
    for layer in inside:  # To set a layer is to set those in it, which come after it.
        switch(layer, encoder, id(layer) in kept)


def _train_head(model: Any, encoder: Any) -> None:
    """Makes a model trainable, but for other encoders in it."""
    within = {id(layer) for layer in (encoder, *inner_layers(encoder))}
    is_encoder = binding_of(encoder).is_encoder
    states: dict[Any, bool] = {}
    for layer in (model, *inner_layers(model)):
        other = is_encoder(layer) and id(layer) not in within
        if other and not any(inner is encoder for inner in inner_layers(layer)):
            states |= {inner: inner.trainable for inner in (layer, *inner_layers(layer))}
    model.trainable = True
    # To set a layer is to set those in it, so those in it come after it.
    for layer in sorted(states, key=lambda layer: len(inner_layers(layer)), reverse=True):
        layer.trainable = states[layer]
