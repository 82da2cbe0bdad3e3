import functools
import sys
import types

import pytest

# KerasHub is for Python 3.11 and later.
collect_ignore_glob = [] if sys.version_info >= (3, 11) else ["*"]

# Each backbone takes from these what it has; the names differ from one to the next.
SMALL = {
    **dict.fromkeys(["vocabulary_size", "vocab_size"], 50),
    **dict.fromkeys(["num_layers", "num_heads", "num_segments", "num_key_value_heads"], 2),
    **dict.fromkeys(["intermediate_dim", "mlp_dim"], 24),
    **dict.fromkeys(["embedding_dim", "head_dim", "bucket_size"], 8),
    "num_query_heads": 4,
    "hidden_dim": 16,
    "max_sequence_length": 32,
    "image_shape": (8, 8, 3),
    "patch_size": 4,
}
CLASSES = {
    "bert": "BertBackbone",
    "roberta": "RobertaBackbone",
    "xlm_roberta": "XLMRobertaBackbone",
    "distil_bert": "DistilBertBackbone",
    "electra": "ElectraBackbone",
    "albert": "AlbertBackbone",
    "deberta_v3": "DebertaV3Backbone",
    "f_net": "FNetBackbone",
    "vit": "ViTBackbone",
    "gpt2": "GPT2Backbone",
    "opt": "OPTBackbone",
    "llama": "LlamaBackbone",
    "llama3": "Llama3Backbone",
    "mistral": "MistralBackbone",
    "qwen": "QwenBackbone",
    "qwen3": "Qwen3Backbone",
}


def build(name, **changes):
    """A tiny backbone by its name in `CLASSES`, seeded."""
    import inspect

    import keras
    from keras_hub import models

    keras.utils.set_random_seed(1)
    cls = getattr(models, CLASSES[name])
    known = inspect.signature(cls.__init__).parameters
    return cls(**{k: v for k, v in SMALL.items() if k in known} | changes)


@functools.cache
def shared(name):
    """The tiny backbone of a name, with none of its variables at its initial value.

    No test may change it.
    """
    backbone = build(name)
    disturb(backbone.weights)
    return backbone


def inputs(backbone):
    """Two of the inputs that a tiny backbone takes: images, or texts of which one is padded."""
    import numpy as np

    word_ids = np.array([[1, 5, 9, 2, 0, 0, 0, 0], [1, 7, 8, 9, 30, 4, 3, 2]], np.int32)
    mask = (word_ids > 0).astype(np.int32)
    given = {"token_ids": word_ids, "padding_mask": mask, "segment_ids": word_ids % 2}
    if isinstance(backbone.input, dict):
        return {name: given[name] for name in backbone.input}
    return np.random.default_rng(0).normal(size=(2, *backbone.input.shape[1:])).astype("float32")


def states(backbone):
    """A tiny backbone's `sequence_output` of its `inputs`, an array."""
    outputs = backbone(inputs(backbone))
    return array(outputs["sequence_output"] if isinstance(outputs, dict) else outputs)


def array(tensor):
    """A tensor of any backend as an array of NumPy's."""
    import keras

    return keras.ops.convert_to_numpy(tensor)


def disturb(variables, seed=0):
    """Adds noise to variables, so that none is at its initial value."""
    import numpy as np

    rng = np.random.default_rng(seed)
    for variable in variables:
        variable.assign_add(0.3 * rng.normal(size=variable.shape).astype("float32"))


@pytest.fixture(scope="session")
def hub():
    """The helpers above, for tests cannot import from a conftest."""
    return types.SimpleNamespace(
        classes=CLASSES,
        build=build,
        shared=shared,
        inputs=inputs,
        states=states,
        array=array,
        disturb=disturb,
    )
