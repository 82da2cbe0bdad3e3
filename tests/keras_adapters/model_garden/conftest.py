import types

import pytest

# Each encoder takes from these what it has; the names differ from one to the next.
SMALL = {
    **dict.fromkeys(["vocab_size", "word_vocab_size"], 50),
    **dict.fromkeys(["num_layers", "num_blocks", "num_attention_heads"], 2),
    **dict.fromkeys(["type_vocab_size", "num_feedforward_networks", "num_experts"], 2),
    **dict.fromkeys(["intermediate_size", "inner_dim", "inner_size"], 24),
    **dict.fromkeys(["embedding_width", "embedding_size", "word_embed_size"], 8),
    **dict.fromkeys(["intra_bottleneck_size", "head_size", "max_sequence_length"], 8),
    **dict.fromkeys(["moe_layers", "attention_layers"], (1,)),
    "hidden_size": 16,
    "max_position_embeddings": 32,
    "block_size": 4,
    "normalization_type": "no_norm",
    "key_query_shared_bottleneck": True,
}


def build(kind, **changes):
    """A tiny encoder of one of the types of tf-models-official's `build_encoder`, seeded."""
    import dataclasses

    import tf_keras
    from official.nlp.configs import encoders

    tf_keras.utils.set_random_seed(1)
    config = encoders.EncoderConfig(type=kind)
    known = {field.name for field in dataclasses.fields(config.get())}
    config.get().override({k: v for k, v in {**SMALL, **changes}.items() if k in known})
    return encoders.build_encoder(config)


def classifier(encoder):
    import tf_keras

    pooled = encoder(encoder.inputs)["pooled_output"]
    return tf_keras.Model(encoder.inputs, tf_keras.layers.Dense(3, name="logits")(pooled))


def adapters_in(encoder):
    from keras_adapters.model_garden import BottleneckAdapter

    return [layer for layer in encoder.submodules if isinstance(layer, BottleneckAdapter)]


def trained_names(model, encoder):
    """What trains, by name; all of the head is `head`."""
    from keras_adapters.variables import encoder_variables

    names = {id(v): name for name, v in encoder_variables(encoder).items()}
    return {names.get(id(v), "head") for v in model.trainable_variables}


@pytest.fixture(scope="session")
def garden():
    """The helpers above, for tests cannot import from a conftest."""
    return types.SimpleNamespace(
        build=build, classifier=classifier, adapters_in=adapters_in, trained_names=trained_names
    )


@pytest.fixture(scope="session")
def eight_tokens():
    """Sequences of the one length that an FNet takes."""
    import numpy as np

    word_ids = np.array([[1, 5, 9, 2, 0, 0, 0, 0], [1, 7, 8, 9, 30, 4, 3, 2]], np.int32)
    mask = (word_ids > 0).astype(np.int32)
    return {"input_word_ids": word_ids, "input_mask": mask, "input_type_ids": word_ids % 2}
