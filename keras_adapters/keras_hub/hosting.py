"""Which host knows a model: its class's, or one of the sites that the user has named."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence

import keras

from keras_adapters.host import Host, inner_layers, names_of
from keras_adapters.keras_hub.hosts.sites import SitesHost

_REFUSAL = (
    "`encoder` must be one of these KerasHub backbones, not of a class derived from one: {}; in "
    "any other Keras model, name the layers to adapt with `sites=...`. Received: {}"
)


def _hosts() -> Mapping[type, Host]:
    """Returns the hosts of KerasHub's backbones; who has one has imported KerasHub."""
    if "keras_hub" not in sys.modules:
        return {}
    return importlib.import_module("keras_adapters.keras_hub.hosts.table").HOSTS


def host_of(encoder: keras.Model) -> Host:
    """Returns the host that knows a model, adapted or not.

    Raises:
      ValueError: no sites were named, and the model is of no class that has a host, or of blocks
        in which its host knows no place.
    """
    chosen = vars(encoder).get("_sites_host")
    if chosen is not None:
        return chosen
    hosts = _hosts()
    for cls in type(encoder).__mro__:
        if cls in hosts:
            hosts[cls].check(encoder)
            return hosts[cls]
    raise ValueError(_REFUSAL.format(names_of(hosts) or "none", type(encoder).__name__))


def choose_sites(encoder: keras.Model, sites: str | Sequence[str] | None) -> None:
    """Lets a model be adapted at the layers that are named, or forget them.

    Args:
      encoder: a built model.
      sites: a pattern of layers' paths, or several, see `hosts.sites`; None to forget.

    Raises:
      ValueError: a pattern matches nothing, or a layer that cannot be a site.
    """
    if sites is None:
        vars(encoder).pop("_sites_host", None)
    else:
        # Past Keras, which would track what the host holds.
        object.__setattr__(encoder, "_sites_host", SitesHost(encoder, sites))


def sites_of(encoder: keras.Model) -> list[str] | None:
    """Returns the patterns that `choose_sites` was given, or None."""
    chosen = vars(encoder).get("_sites_host")
    return None if chosen is None else list(chosen.patterns)


def check_class(encoder: keras.Model) -> None:
    """Raises a ValueError if a plain model is of a class without a host, or quantised."""
    if sites_of(encoder) is None and type(encoder) not in _hosts():
        raise ValueError(_REFUSAL.format(names_of(_hosts()) or "none", type(encoder).__name__))
    quantised = [layer.path for layer in inner_layers(encoder) if layer.quantization_mode]
    if quantised:
        raise ValueError(
            "`encoder` must not be quantised: adapters are trained beside float layers. Received: "
            f"{encoder.name!r}, of whose layers {len(quantised)} are, such as {quantised[0]!r}"
        )
