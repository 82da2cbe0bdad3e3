"""What `benchmarks.tpu_compile` and `benchmarks.jax_tpu_compile` can compile, and for what."""

from __future__ import annotations

from typing import Any

STEPS = ("train", "eval", "predict")
# Whose texts may share rows: of a packaged task, or drawn such that, padded to 128 tokens, they are
# 69% padding, within GLUE's 50 to 89% (Krell et al. 2021, arXiv 2107.02027).
TEXTS = ("glue_like", "reuters_r8")


def _bert(layers: int, hidden: int) -> dict[str, Any]:
    return {
        "vocab_size": 30522,
        "hidden_size": hidden,
        "num_layers": layers,
        "num_attention_heads": hidden // 64,
        "inner_dim": 4 * hidden,
    }


# Arguments of BertEncoderV2.
ENCODERS = {
    "bert_tiny": _bert(layers=2, hidden=128),
    "bert_base": _bert(layers=12, hidden=768),
    "bert_large": _bert(layers=24, hidden=1024),
}

_BASE = {"num_layers": 12, "hidden_dim": 768, "intermediate_dim": 3072}
_TINY = {"vocabulary_size": 1000, "num_layers": 1, "hidden_dim": 128, "intermediate_dim": 512}
# Of KerasHub: a backbone's family, the task on it, and the backbone's arguments.
KERAS_HUB_MODELS = {
    "bert_tiny": ("Bert", "TextClassifier", {"num_heads": 2, **_TINY}),
    "roberta_tiny": ("Roberta", "TextClassifier", {"num_heads": 2, **_TINY}),
    "gpt2_tiny": ("GPT2", "CausalLM", {"num_heads": 2, **_TINY}),
    "llama_tiny": ("Llama", "CausalLM", {"num_query_heads": 4, "num_key_value_heads": 2, **_TINY}),
    "bert_base": ("Bert", "TextClassifier", {"vocabulary_size": 30522, "num_heads": 12, **_BASE}),
    "roberta_base": (
        "Roberta",
        "TextClassifier",
        {"vocabulary_size": 50265, "num_heads": 12, **_BASE},
    ),
    "gpt2_base": ("GPT2", "CausalLM", {"vocabulary_size": 50257, "num_heads": 12, **_BASE}),
    # The shape of TinyLlama (Zhang et al. 2024, arXiv 2401.02385).
    "llama_1b": (
        "Llama",
        "CausalLM",
        {
            "vocabulary_size": 32000,
            "num_layers": 22,
            "num_query_heads": 32,
            "num_key_value_heads": 4,
            "hidden_dim": 2048,
            "intermediate_dim": 5632,
        },
    ),
}
KERAS_HUB_METHODS = ("adapters", "full")
DISTRIBUTIONS = ("data", "sharded")

# Of the compiler's topology: the smallest host, of which one chip is compiled for, or all. v4's
# two cores make one device, as they do by default on the hardware; v5p's do so anyway; v7x's are
# always two.
TOPOLOGIES = {
    "v5e": {"topology_name": "v5e:2x2"},
    "v4": {"topology_name": "v4:2x2x1", "chip_config_name": "megacore"},
    "v5p": {"topology_name": "v5p:2x2x1"},
    "v6e": {"topology_name": "v6e:2x2"},
    "v7x": {"topology_name": "tpu7x:2x2x1"},
}
DEVICES = {"v5e": 4, "v4": 4, "v5p": 4, "v6e": 4, "v7x": 8}
# TensorFlow does not run there: https://cloud.google.com/tpu/docs/tpu7x.
WITHOUT_TENSORFLOW = ("v7x",)

# Of one device: bfloat16 FLOP/s and bytes/s of HBM at their peak, as published at
# https://cloud.google.com/tpu/docs/v5e, /v4, /v5p, /v6e and, for a chip of two, /tpu7x.
PEAKS = {
    "v5e": (197e12, 819e9),
    "v4": (275e12, 1228e9),
    "v5p": (459e12, 2765e9),
    "v6e": (918e12, 1640e9),
    "v7x": (2307e12 / 2, 7380e9 / 2),
}
