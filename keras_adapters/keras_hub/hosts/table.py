"""The backbones that can hold what a method inserts: a row for each class."""

from __future__ import annotations

from collections.abc import Mapping

from keras_hub import models

from keras_adapters.host import names_of
from keras_adapters.keras_hub.exact_bert import ExactBertBackbone
from keras_adapters.keras_hub.hosts.albert import AlbertHost
from keras_adapters.keras_hub.hosts.bert import BertHost, ElectraHost
from keras_adapters.keras_hub.hosts.deberta_v3 import DebertaV3Host
from keras_adapters.keras_hub.hosts.f_net import FNetHost
from keras_adapters.keras_hub.hosts.gpt2 import Gpt2Host, OptHost
from keras_adapters.keras_hub.hosts.host import Host
from keras_adapters.keras_hub.hosts.llama import LlamaHost, MistralHost, Qwen3Host, QwenHost
from keras_adapters.keras_hub.hosts.roberta import RobertaHost
from keras_adapters.keras_hub.hosts.vit import ViTHost

HOSTS: Mapping[type, Host] = {
    host.encoder_class: host
    for host in (
        BertHost(models.BertBackbone),
        BertHost(ExactBertBackbone),
        RobertaHost(models.RobertaBackbone),
        RobertaHost(models.XLMRobertaBackbone),
        RobertaHost(models.DistilBertBackbone, "distilbert"),
        ElectraHost(models.ElectraBackbone),
        AlbertHost(models.AlbertBackbone),
        DebertaV3Host(models.DebertaV3Backbone),
        FNetHost(models.FNetBackbone),
        ViTHost(models.ViTBackbone),
        Gpt2Host(models.GPT2Backbone),
        OptHost(models.OPTBackbone),
        LlamaHost(models.LlamaBackbone),
        LlamaHost(models.Llama3Backbone),
        MistralHost(models.MistralBackbone),
        QwenHost(models.QwenBackbone),
        Qwen3Host(models.Qwen3Backbone),
    )
}


def host_of(encoder: object) -> Host:
    """Returns the host that knows a backbone, adapted or not.

    Raises:
      ValueError: the backbone is of none of the classes in `HOSTS` or derived from one, or of
        blocks in which its host knows no place.
    """
    for cls in type(encoder).__mro__:
        if cls in HOSTS:
            HOSTS[cls].check(encoder)
            return HOSTS[cls]
    raise ValueError(
        f"`encoder` must be one of these KerasHub backbones: {names_of(HOSTS)}; in any other Keras "
        f"model, name the layers to adapt with `sites=...`. Received: {type(encoder).__name__}"
    )
