"""Which host knows a model: its class's, or one of the sites that the user has named."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from keras_adapters.host import Host, names_of
from keras_adapters.keras_hub.hosts import table
from keras_adapters.keras_hub.hosts.sites import SitesHost


def host_of(encoder: keras.Model) -> Host:
    """Returns the host that knows a model, adapted or not.

    Raises:
      ValueError: no sites were named, and the model is of none of the classes in `table.HOSTS`,
        or of blocks in which its host knows no place.
    """
    chosen = vars(encoder).get("_sites_host")
    return table.host_of(encoder) if chosen is None else chosen


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
    """Raises a ValueError if a plain model is of a class that cannot be adapted."""
    if sites_of(encoder) is None and type(encoder) not in table.HOSTS:
        raise ValueError(
            f"`encoder` must be one of these KerasHub backbones: {names_of(table.HOSTS)}, not of "
            "a class derived from one; of any other Keras model, name the layers with "
            f"`sites=...`. Received: {type(encoder).__name__}"
        )
