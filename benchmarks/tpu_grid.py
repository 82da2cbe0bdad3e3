"""What `benchmarks.tpu_compile` can compile, and for what."""

from __future__ import annotations

from typing import Any

STEPS = ("train", "eval", "predict")


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
