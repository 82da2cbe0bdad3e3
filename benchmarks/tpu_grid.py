"""What `benchmarks.tpu_compile` can compile, and for what."""

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

# Of the compiler's topology: the smallest host, of which one chip is compiled for. v4's two
# cores make one device, as they do by default on the hardware; v5p's do so anyway.
TOPOLOGIES = {
    "v5e": {"topology_name": "v5e:2x2"},
    "v4": {"topology_name": "v4:2x2x1", "chip_config_name": "megacore"},
    "v5p": {"topology_name": "v5p:2x2x1"},
    "v6e": {"topology_name": "v6e:2x2"},
}

# Of one chip: bfloat16 FLOP/s and bytes/s of HBM at their peak, as published at
# https://cloud.google.com/tpu/docs/v5e, /v4, /v5p and /v6e.
PEAKS = {
    "v5e": (197e12, 819e9),
    "v4": (275e12, 1228e9),
    "v5p": (459e12, 2765e9),
    "v6e": (918e12, 1640e9),
}
