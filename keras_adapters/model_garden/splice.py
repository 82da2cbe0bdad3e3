"""Adds adapters to a tf-models-official encoder, and removes them."""

from __future__ import annotations

import tf_keras

from keras_adapters.host import names_of
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from keras_adapters.model_garden.adapted import (
    ADAPTED,
    become_adapted,
    become_plain,
    changed_in,
    freeze_parts,
    insertion_of,
    is_adapted,
    original_of,
)
from keras_adapters.model_garden.hosts.table import HOSTS, host_of
from keras_adapters.model_garden.insertion import check_nothing_inserted, insert, plan, take_out
from keras_adapters.model_garden.layers import make_layer
from keras_adapters.model_garden.variables import assign_all, encoder_variables


def add_adapters(encoder: tf_keras.layers.Layer, config: AdapterConfig) -> tf_keras.layers.Layer:
    """Adds adapters to an encoder, in place, and freezes nothing.

    The encoder may already hold restored weights and may already be part of a model; its
    own variables keep their values, objects and checkpoint keys. Its class becomes a
    subclass whose config tells of the adapters, so saving and reloading keeps them.
    Compile a model that contains the encoder only afterwards: an encoder knows nothing of
    the models that it is in, and what they have traced goes on without the adapters.

    Args:
      encoder: one of the `official.nlp.modeling.networks` in `hosts.table.HOSTS`.
      config: which adapters, and where. An `AlbertEncoder`'s layers share their block, and
        so they share its adapters. A `MobileBERTEncoder` gets one after each of a block's
        stacked feed-forward networks, as wide as the block's bottleneck.

    Returns:
      The same encoder.

    Raises:
      ValueError: the encoder's class or its blocks' is not one that can be adapted, it has
        adapters already or is itself a compiled model, `config.layers` names a block that it
        does not have or chooses among layers that share one block, or `config` is no
        settings of adapters or Keras has no such activation.

    Reference:
      Houlsby et al. 2019, section 2.1 and figure 2.
    """
    if config is None:
        raise ValueError("`config` must be settings of adapters. Received: config=None")
    host_of(encoder)
    method = Method(config, trains="all")
    check_no_adapters(encoder)
    check_method(encoder, method)
    check_not_compiled(encoder)
    build(encoder)
    original = original_of(encoder)
    insert(plan(encoder, config))
    become_adapted(encoder, method, original)
    trace_anew(encoder)
    return encoder


def check_method(encoder: tf_keras.layers.Layer, method: Method) -> None:
    """Raises a ValueError if an encoder cannot be adapted, or does not fit a method."""
    host = host_of(encoder)
    if type(encoder) not in ADAPTED and not is_adapted(encoder):
        raise ValueError(
            f"`encoder` must be one of these tf-models-official encoders: {names_of(HOSTS)}, "
            f"not of a class derived from one. Received: {type(encoder).__name__}"
        )
    if not is_adapted(encoder) and host.is_built(encoder):
        check_nothing_inserted(encoder)
    blocks = len(host.blocks(encoder))
    method.check_blocks(blocks)
    layers = method.insertion.layers if method.insertion else None
    chosen = f"top_layers={method.top_layers}" if method.top_layers else f"layers={layers}"
    if host.shares_blocks(encoder) and (method.top_layers or 0 < len(layers or ()) < blocks):
        raise ValueError(
            f"`method` must not choose among the layers of {host.encoder_class.__name__}: its "
            f"{blocks} layers share one block, and so what it holds. Received: {chosen}"
        )
    if method.insertion is not None:
        _check_insertion(encoder, method.insertion)


def _check_insertion(encoder: tf_keras.layers.Layer, config: AdapterConfig) -> None:
    """Raises a ValueError if the encoder's blocks cannot hold layers of these settings."""
    host = host_of(encoder)
    name, blocks = host.encoder_class.__name__, host.blocks(encoder)
    make_layer(config.of_layer((config.layers or (0,))[0]))
    if config.varies and host.shares_blocks(encoder):
        raise ValueError(
            f"`size` must be one number for {name}, whose layers share one block and so its "
            f"adapters. Received: size={config.size}"
        )
    if config.reads == "normalised" and not all(map(host.normalises_last, blocks)):
        raise ValueError(
            f"form={config.form!r} needs blocks that normalise after each residual addition. "
            f"Received: {name} {encoder.name!r}, whose blocks normalise first (`norm_first`)"
        )
    if config.needs_all_positions and encoder.get_config().get("output_range"):
        raise ValueError(
            "`gate` is the mean over all positions, so the encoder must compute them all. "
            f"Received: {name} {encoder.name!r} with `output_range`"
        )


def check_no_adapters(encoder: tf_keras.layers.Layer) -> None:
    """Raises a ValueError if something was inserted into an encoder."""
    if insertion_of(encoder) is not None:
        raise ValueError(
            f"`encoder` has adapters already: {insertion_of(encoder)}. Take them out with "
            "`remove_adapter(encoder)` first, load others of the same settings with "
            "`load_adapter`, or choose what trains with `set_trainable`."
        )


def check_not_compiled(model: tf_keras.layers.Layer) -> None:
    """Raises a ValueError if a model or one inside of it is compiled already."""
    for inner in (model, *model.submodules):
        if getattr(inner, "_is_compiled", False):
            raise ValueError(
                "`model` must not be compiled yet, for it would go on training what it did: "
                "compile it afterwards. A reloaded model is not with `load_model(path, "
                "compile=False)`; of one that is, `tf_keras.Model(model.input, model.output)` "
                f"makes another that is not. Received: {inner.name!r}, compiled"
            )


def build(encoder: tf_keras.layers.Layer) -> None:
    """Gives an encoder its variables, if it has none yet."""
    if not host_of(encoder).is_built(encoder):
        encoder(encoder.inputs)


def trace_anew(model: tf_keras.layers.Layer) -> None:
    """Makes a model, and those inside of it, forget what they have traced."""
    for inner in (model, *model.submodules):
        if isinstance(inner, tf_keras.Model):
            inner.predict_function = inner.test_function = inner.train_function = None
            inner.train_tf_function = None


def take_out_adapters(encoder: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
    """Makes an encoder what it was before `add_adapters` or `adapt`, in place.

    Inserted layers are out, each block has its own dropouts and projections again, the
    LayerNorms have the values that they had, the encoder is of its own class, and what was
    frozen before is frozen.

    Args:
      encoder: an encoder that a method was applied to.

    Returns:
      The same encoder.

    Raises:
      ValueError: there is nothing to take out; more of the base than its LayerNorms has
        changed, or would by the method; or the encoder was reloaded, so that its own LayerNorms
        are not known.
    """
    host_of(encoder)
    if not is_adapted(encoder):
        raise ValueError(
            f"`encoder` must be adapted: there is nothing to remove from {encoder.name!r}, a "
            f"{type(encoder).__name__}"
        )
    original, method = encoder.original, encoder.method
    if method.insertion is None and method.trains not in ("nothing", "layer_norms"):
        raise ValueError(
            f"`encoder` cannot be what it was: the method {method.name!r} inserts nothing and "
            f"trains {method.trains.replace('_', ' ')} of the base, of which no copy is kept. "
            "Load the pretrained encoder anew."
        )
    if original.norms is None:
        raise ValueError(
            "the LayerNorms that the encoder had before it was adapted are not known, for it was "
            "made from a config or a file. Load the pretrained encoder anew."
        )
    named = encoder_variables(encoder, adapters=False)
    norms = {name: named.pop(name) for name in original.norms}
    changed = changed_in(named, original.base)
    if changed:
        raise ValueError(
            f"`encoder` cannot be what it was: {len(changed)} variables, of which no copy is kept, "
            f"have changed: {', '.join(changed[:4])}. Load the pretrained encoder anew."
        )
    take_out(encoder)
    assign_all(norms, original.norms, "the LayerNorms of before")
    become_plain(encoder)
    freeze_parts(encoder, original.frozen)
    trace_anew(encoder)
    return encoder
