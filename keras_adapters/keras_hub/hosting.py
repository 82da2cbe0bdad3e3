"""Which host knows a model: its class's, or one of the sites that the user has named."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import keras

from keras_adapters.host import Host, inner_layers
from keras_adapters.keras_hub.hosts.sites import SitesHost

_TABLE = "keras_adapters.keras_hub.hosts.table"


def host_of(encoder: keras.Model) -> Host:
    """Returns the host that knows a model, adapted or not.

    Raises:
      ValueError: no sites were named, and the model is of no class that has a host, or of blocks
        in which its host knows no place.
    """
    chosen = vars(encoder).get("_sites_host")
    if chosen is not None:
        return chosen
    if "keras_hub" in sys.modules:  # Who has a backbone has imported it.
        return importlib.import_module(_TABLE).host_of(encoder)
    raise ValueError(
        "`encoder` must be a backbone of KerasHub; in any other Keras model, name the layers to "
        f"adapt with `sites=...`. Received: {type(encoder).__name__}"
    )


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
    host = host_of(encoder)
    if type(encoder) is not host.encoder_class:
        raise ValueError(
            f"`encoder` must be a {host.encoder_class.__name__}, not of a class derived from it; "
            f"or name the layers to adapt with `sites=...`. Received: {type(encoder).__name__}"
        )
    quantised = [layer.path for layer in inner_layers(encoder) if layer.quantization_mode]
    if quantised:
        raise ValueError(
            "`encoder` must not be quantised: adapters are trained beside float layers. Received: "
            f"{encoder.name!r}, of whose layers {len(quantised)} are, such as {quantised[0]!r}"
        )
