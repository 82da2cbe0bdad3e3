"""What both Kerases hold is told as one base: names, shapes, architecture, and so values."""

import numpy as np
import pytest

from keras_adapters.fingerprint import Base
from keras_adapters.original import base_of
from keras_adapters.variables import encoder_variables

SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "inner_dim": 24,
    "num_layers": 2,
    "num_attention_heads": 2,
    "type_vocab_size": 2,
    "max_position_embeddings": 32,
    "max_sequence_length": 8,
    "embedding_width": 8,
    "attention_layers": (),
}
# tf-models-official's type, KerasHub's, and what is not as in `SMALL`.
PAIRS = {
    "bert": ("bert_v2", "bert", {"embedding_size": 16}, {}),
    "electra": ("bert_v2", "electra", {"embedding_size": 8}, {}),
    "albert": ("albert", "albert", {}, {}),
    "fnet": ("fnet", "f_net", {"embedding_width": 16}, {}),
}


def in_model_garden(kind, changes):
    import dataclasses

    from official.nlp.configs import encoders

    config = encoders.EncoderConfig(type=kind)
    known = {field.name for field in dataclasses.fields(config.get())}
    config.get().override({k: v for k, v in {**SMALL, **changes}.items() if k in known})
    encoder = encoders.build_encoder(config)
    encoder(encoder.inputs)
    return encoder


@pytest.mark.parametrize(("theirs", "name", "changes", "ours"), PAIRS.values(), ids=PAIRS)
def test_the_same_weights_are_the_same_base_and_give_the_same(theirs, name, changes, ours, hub):
    garden = in_model_garden(theirs, changes)
    backbone = hub.build(name, **ours)
    hub.disturb(backbone.weights)
    values = {key: v.numpy() for key, v in encoder_variables(backbone).items()}
    variables = encoder_variables(garden)
    assert {key: v.shape for key, v in values.items()} == {
        key: tuple(v.shape) for key, v in variables.items()
    }
    for key, variable in variables.items():
        variable.assign(values[key])
    first, second = base_of(backbone), base_of(garden)
    assert isinstance(first, Base)
    assert first.differences(second) == []
    assert first.fingerprint == second.fingerprint

    given = hub.inputs(backbone)
    outputs = backbone(given)
    mask = given.get("padding_mask", np.ones_like(given["token_ids"]))
    expected = garden(
        {
            "input_word_ids": given["token_ids"],
            "input_mask": mask,
            "input_type_ids": given["segment_ids"],
        }
    )
    held = mask[..., np.newaxis]
    for key, kept in (("sequence_output", held), ("pooled_output", 1)):
        np.testing.assert_allclose(hub.array(outputs[key]) * kept, expected[key] * kept, atol=2e-5)
