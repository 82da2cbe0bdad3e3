"""The names that Google's BERT gives its variables; Hugging Face's follow them.

Google: https://github.com/google-research/bert, modeling.py.
"""

from __future__ import annotations

_EMBEDDINGS = {
    "embeddings/word": "embeddings/word_embeddings",
    "embeddings/position": "embeddings/position_embeddings",
    "embeddings/type": "embeddings/token_type_embeddings",
}
_LAYERS = {
    "embeddings/layer_norm": "embeddings/LayerNorm",
    "pooler": "pooler/dense",
    "attention/query": "attention/self/query",
    "attention/key": "attention/self/key",
    "attention/value": "attention/self/value",
    "attention/output": "attention/output/dense",
    "attention/layer_norm": "attention/output/LayerNorm",
    "intermediate": "intermediate/dense",
    "output": "output/dense",
    "output/layer_norm": "output/LayerNorm",
}


def google_name(name: str) -> str:
    """Returns Google's name, without its `bert/`, of one of `encoder_variables`' names.

    Example:
    >>> google_name("layer_0/attention/query/kernel")
    'encoder/layer_0/attention/self/query/kernel'
    """
    if name in _EMBEDDINGS:
        return _EMBEDDINGS[name]
    layer, kind = name.rsplit("/", 1)
    if layer.startswith("layer_"):
        block, layer = layer.split("/", 1)
        return f"encoder/{block}/{_LAYERS[layer]}/{kind}"
    return f"{_LAYERS[layer]}/{kind}"


def hugging_face_name(name: str) -> str:
    """Returns Hugging Face's name, without its `bert.`, of one of `encoder_variables`' names.

    Example:
    >>> hugging_face_name("layer_0/attention/query/kernel")
    'encoder.layer.0.attention.self.query.weight'
    """
    source = google_name(name).replace("/layer_", "/layer/").replace("/", ".")
    if name in _EMBEDDINGS:
        return source + ".weight"
    layer, kind = source.rsplit(".", 1)
    return f"{layer}.{'weight' if kind in ('kernel', 'gamma') else 'bias'}"
