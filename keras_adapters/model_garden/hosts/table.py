"""The encoders that can hold what a method inserts: a row for each class."""

from __future__ import annotations

from collections.abc import Mapping

from official.nlp.modeling import networks

from keras_adapters.host import names_of
from keras_adapters.model_garden.hosts.albert import AlbertHost
from keras_adapters.model_garden.hosts.bert import BertHost
from keras_adapters.model_garden.hosts.fnet import FNetHost
from keras_adapters.model_garden.hosts.funnel import FunnelHost
from keras_adapters.model_garden.hosts.host import Host
from keras_adapters.model_garden.hosts.mobile_bert import MobileBertHost

HOSTS: Mapping[type, Host] = {
    host.encoder_class: host
    for host in (
        BertHost(networks.BertEncoderV2),
        BertHost(networks.BertEncoder),
        AlbertHost(networks.AlbertEncoder),
        MobileBertHost(networks.MobileBERTEncoder),
        FunnelHost(networks.FunnelTransformerEncoder),
        FNetHost(networks.FNet),
    )
}


def host_of(encoder: object) -> Host:
    """Returns the host that knows an encoder, adapted or not.

    Raises:
      ValueError: the encoder is of none of the classes in `HOSTS`, or of blocks in which
        its host knows no place.
    """
    for cls in type(encoder).__mro__:
        if cls in HOSTS:
            HOSTS[cls].check(encoder)
            return HOSTS[cls]
    raise ValueError(
        f"`encoder` must be one of these tf-models-official encoders: {names_of(HOSTS)}. "
        f"Received: {type(encoder).__name__}"
    )
