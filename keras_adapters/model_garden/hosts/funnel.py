"""Funnel Transformer: BERT's blocks over sequences that are pooled on the way."""

from __future__ import annotations

from keras_adapters.model_garden.hosts.bert import BertHost


class FunnelHost(BertHost):
    """`FunnelTransformerEncoder` of BERT's blocks; its residuals are the pooled sequences."""
