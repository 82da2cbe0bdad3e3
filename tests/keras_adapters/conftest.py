import json

import pytest

# Sizes of which no two that could be mistaken for each other are alike.
BERT_CONFIG = {
    "vocab_size": 53,
    "hidden_size": 18,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 26,
    "max_position_embeddings": 40,
    "type_vocab_size": 4,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.2,
    "initializer_range": 0.02,
}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
UNCASED = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, "##ing", "ℝ"]
CASED = [*UNCASED, "Paris"]


def write_bert_config(folder, vocabulary=UNCASED, **settings):
    folder.mkdir(exist_ok=True, parents=True)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    (folder / "bert_config.json").write_text(json.dumps({**BERT_CONFIG, **settings}))
    return folder


def odd_encoder(cls=None, activation=None, **kwargs):
    """An encoder of tf-models-official whose every variable is random; Google's gelu by default."""
    import numpy as np
    from official.modeling import tf_utils
    from official.nlp.modeling import networks

    cls = cls or networks.BertEncoderV2
    if cls is networks.BertEncoder:
        kwargs["dict_outputs"] = True
    encoder = cls(
        vocab_size=BERT_CONFIG["vocab_size"],
        hidden_size=BERT_CONFIG["hidden_size"],
        num_layers=BERT_CONFIG["num_hidden_layers"],
        num_attention_heads=BERT_CONFIG["num_attention_heads"],
        max_sequence_length=BERT_CONFIG["max_position_embeddings"],
        type_vocab_size=BERT_CONFIG["type_vocab_size"],
        inner_dim=BERT_CONFIG["intermediate_size"],
        inner_activation=activation or tf_utils.get_activation("gelu"),
        **kwargs,
    )
    encoder(encoder.inputs)
    rng = np.random.default_rng(0)
    for variable in encoder.variables:
        variable.assign(0.3 * rng.normal(size=variable.shape))
    return encoder


def outputs(encoder):
    """All that an encoder computes of two sequences, one of them padded."""
    import numpy as np

    rng = np.random.default_rng(1)
    mask = np.ones((2, 7), np.int32)
    mask[1, 4:] = 0
    inputs = {
        "input_word_ids": rng.integers(BERT_CONFIG["vocab_size"], size=mask.shape),
        "input_mask": mask,
        "input_type_ids": rng.integers(BERT_CONFIG["type_vocab_size"], size=mask.shape),
    }
    result = encoder({name: value.astype("int32") for name, value in inputs.items()})
    hidden = np.stack([layer.numpy() for layer in result["encoder_outputs"]])
    return hidden, result["pooled_output"].numpy()


@pytest.fixture(scope="session")
def odd():
    """The helpers above, for tests cannot import from a conftest."""
    import types

    import numpy as np

    def assert_same(encoder, source):
        for ours, theirs in zip(outputs(encoder), outputs(source), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)

    return types.SimpleNamespace(
        config=BERT_CONFIG,
        uncased=UNCASED,
        cased=CASED,
        write_bert_config=write_bert_config,
        encoder=odd_encoder,
        outputs=outputs,
        assert_same=assert_same,
    )
