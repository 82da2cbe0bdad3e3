"""Any Keras 3 model: an inserted layer after every layer that the user names."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from keras_adapters.host import Part, Site, Tap
from keras_adapters.keras_hub.hosts.described import digest_of
from keras_adapters.keras_hub.hosts.host import Host
from keras_adapters.keras_hub.hosts.outputs import Output, outputs_of
from keras_adapters.keras_hub.hosts.paths import layer_paths
from keras_adapters.methods.bottleneck import PLACES, AdapterConfig
from keras_adapters.variables import own_variables

# What Keras calls a variable without a name, with a number that depends on the process.
_UNNAMED = re.compile(r"variable(_\d+)?")
_SHOWN = 8


class SitesHost(Host):
    """A built model, and the layers in it that are sites.

    A pattern is matched with a layer's path below the model, as `fnmatch` does: `*` stands for any
    text, `/` included. What paths look like, `paths.layer_paths` says, and
    `[path for path, _ in layer_paths(model)]` lists them; a pattern that matches none is
    answered with the nearest. A layer inside of another may be a site beside it: each output is
    changed for itself.

    Each layer that matches counts as a block, in the order in which the model computes their
    outputs: `AdapterConfig.layers` chooses among them, and the method `top_layers` trains what is
    in the last of them. One that the model calls several times has one inserted layer.
    LayerNormalization and RMSNormalization count as the LayerNorms that adapters train beside;
    a BatchNormalization does not: it stays frozen, its moving statistics too.

    Args:
      model: a built model, of which only the variables may change afterwards.
      sites: a pattern, or several.

    Raises:
      ValueError: the model is not built; a pattern is none, or matches no layer; a layer that
        matches does not give one float tensor with features of a known number in its last
        dimension, only gives what another one gives, or has an attribute `adapter`; or the
        model's variables cannot be named.
    """

    family = "keras"

    def __init__(self, model: keras.Model, sites: str | Sequence[str]) -> None:
        super().__init__(type(model))
        self.patterns = _patterns(sites)
        if not model.built:
            raise ValueError(
                "`encoder` must be built, for it has no variables before: call it first. Received: "
                f"{model.name!r}, which is not"
            )
        paths = layer_paths(model)
        self._parts = _parts(model, paths)
        self._sites = {id(site.end): site for site in _sites(model, self.patterns, paths)}
        self._digest = digest_of(model)

    def blocks(self, encoder: keras.Model) -> list[keras.layers.Layer]:
        """Returns the layers that are sites, in the order of their outputs."""
        return [site.end for site in self._sites.values()]

    def sites(self, block: keras.layers.Layer) -> list[Site]:
        """Returns the one site that a layer is."""
        return [self._sites[id(block)]]

    def embedding_parts(self, encoder: keras.Model) -> Iterator[Part]:
        """Yields all layers that hold variables, whichever of them are sites."""
        yield from self._parts

    def block_parts(self, block: keras.layers.Layer) -> Iterator[Part]:
        """Yields nothing: which layers are sites does not change the names of variables."""
        yield from ()

    def top_parts(self, encoder: keras.Model) -> Iterator[Part]:
        """Yields nothing."""
        yield from ()

    def check_insertion(self, encoder: keras.Model, config: AdapterConfig) -> None:
        """Raises a ValueError for what needs a sub-layer around a site."""
        if config.form != "sequential":
            raise ValueError(
                'form must be "sequential" at `sites`: of a layer that is named, it is not known '
                f"what its output is added to. Received: form={config.form!r}"
            )
        if set(config.places) != set(PLACES):
            raise ValueError(
                "`places` are of a Transformer's block: leave them out where `sites` name the "
                f"layers. Received: places={config.places}"
            )

    def architecture(self, encoder: keras.Model) -> dict[str, Any]:
        """Returns the model's class and a digest of its configs, see `Host.architecture`."""
        name = keras.saving.get_registered_name(self.encoder_class)
        return {"family": self.family, "model": name, "config": self._digest}


def _patterns(sites: str | Sequence[str]) -> tuple[str, ...]:
    patterns = (sites,) if isinstance(sites, str) else tuple(sites)
    if not patterns or not all(isinstance(pattern, str) and pattern for pattern in patterns):
        raise ValueError(
            "`sites` must be a pattern of layers' paths, such as '*/mlp_dense_2', or several. "
            f"Received: {sites!r}"
        )
    return patterns


def _sites(
    model: keras.Model, patterns: Sequence[str], paths: list[tuple[str, keras.layers.Layer]]
) -> Iterator[Site]:
    """Yields the sites that patterns name, in the order of their outputs."""
    matched = _matched(patterns, paths)
    names = {id(layer): path for path, layer in matched}
    found = outputs_of(model, [layer for _, layer in matched])
    for path, layer in matched:
        _check_site(path, layer, found.get(layer), names)
    for layer, output in found.items():
        yield Site(
            name=names[id(layer)].split("/")[-1],
            # One of those that settings have by default.
            place=PLACES[-1],
            input=Tap(layer, "input"),
            end=layer,
            width=output.width,
        )


def _matched(
    patterns: Sequence[str], paths: list[tuple[str, keras.layers.Layer]]
) -> list[tuple[str, keras.layers.Layer]]:
    """Returns the layers that one of the patterns matches; each pattern must match one."""
    paths = [
        (path, layer) for path, layer in paths if not isinstance(layer, keras.layers.InputLayer)
    ]
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(path, pattern) for path, _ in paths):
            known = [path for path, _ in paths]
            near = difflib.get_close_matches(pattern, known, _SHOWN, 0) or known[:_SHOWN]
            raise ValueError(
                f"`sites` must match paths of layers. Received: {pattern!r}, which matches none of "
                f"{len(known)}; the nearest are {', '.join(map(repr, near))}"
            )
    return [
        (path, layer)
        for path, layer in paths
        if any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)
    ]


def _check_site(
    path: str, layer: keras.layers.Layer, output: Output | None, names: dict[int, str]
) -> None:
    """Raises a ValueError if nothing can be inserted after a layer."""
    if list(names.values()).count(path) > 1:
        raise ValueError(
            f"`sites` must tell layers apart, and several have the path {path!r}: give them names"
        )
    problem = None
    if output is None:
        problem = "which the model does not call"
    elif getattr(layer, "data_format", None) == "channels_first":
        problem = "whose features are not its last dimension (data_format='channels_first')"
    elif output.width is None:
        problem = f"which gives {output.shown}"
    elif hasattr(layer, "adapter"):
        problem = "which has an attribute `adapter` of its own"
    if problem:
        raise ValueError(
            "`sites` must be layers that give one float tensor, with as many features in its last "
            f"dimension at each call. Received: {path!r}, {problem}"
        )
    if output.gives_that_of:
        inner = names[id(output.gives_that_of[0])]
        raise ValueError(
            f"`sites` must name an output once: {path!r} only gives what {inner!r} in it gives. "
            "Name one of the two"
        )


def _parts(model: keras.Model, paths: list[tuple[str, keras.layers.Layer]]) -> list[Part]:
    """Returns the layers that hold variables themselves, the model too, by their paths.

    Raises:
      ValueError: two of them have one path, or a variable has no name of its own.
    """
    parts: dict[str, keras.layers.Layer] = {}
    for path, layer in (("", model), *paths):
        # Not below the names of adapters and heads.
        name = f"model/{path}".removesuffix("/")
        variables = own_variables(layer)
        if not variables:
            continue
        unnamed = [variable for variable in variables if _UNNAMED.fullmatch(variable.name)]
        if unnamed:
            raise ValueError(
                "`encoder` must have variables with names, as `add_weight(name=...)` gives them. "
                f"Received: {unnamed[0].path!r}, which Keras has named"
            )
        if name in parts:
            raise ValueError(
                "`encoder` must have layers that can be told apart: give those names that are "
                f"kept in the same place. Received: two of the path {path!r} that hold variables"
            )
        parts[name] = layer
    return list(parts.items())
