import numpy as np
import pytest
import tf_keras
from official.nlp.modeling import networks

from keras_adapters import METHODS, AdapterConfig, Method
from keras_adapters.converters.hugging_face import load_hugging_face
from keras_adapters.model_garden import add_adapters, freezing
from keras_adapters.model_garden.summary import ParameterCounts, count_parameters
from keras_adapters.model_garden.variables import encoder_variables


def classifier(encoder):
    pooled = encoder(encoder.inputs)["pooled_output"]
    model = tf_keras.Model(encoder.inputs, tf_keras.layers.Dense(3, name="logits")(pooled))
    return model, encoder


def adapted(encoder):
    return classifier(add_adapters(encoder, AdapterConfig(4)))


def trained_names(model, encoder):
    names = {id(v): name for name, v in encoder_variables(encoder).items()}
    return {names.get(id(v), "head") for v in model.trainable_variables}


def method_named(name):
    return Method.named(name, top_layers=2) if name == "top_layers" else name


def is_norm(name):
    return "layer_norm" in name


EXPECTED = {
    "adapters": lambda name: "adapter" in name or is_norm(name),
    "full": lambda name: True,
    "top_layers": lambda name: name.startswith(("layer_1", "layer_2", "pooler")),
    "feature_based": lambda name: False,
    "layer_norm": is_norm,
}


@pytest.mark.parametrize("cls", [networks.BertEncoderV2, networks.BertEncoder])
@pytest.mark.parametrize("method", METHODS)
def test_what_trains(method, cls, small_encoder):
    model, encoder = adapted(small_encoder(cls))
    encoder.trainable = False  # As a user may have left it.
    freezing.set_trainable(model, encoder, method_named(method))
    chosen = EXPECTED[method]
    inside = {name for name in encoder_variables(encoder) if chosen(name)}
    assert trained_names(model, encoder) == inside | {"head"}
    assert len(model.variables) == len(model.trainable_variables) + len(
        model.non_trainable_variables
    )


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("prefix", "`method` must be one of"),
        ("top_layers", "`top_layers` goes with"),
        (Method.named("top_layers", top_layers=4), "must be 1 to 3"),
        ("adapters", "needs an encoder with adapters"),
        (AdapterConfig(4), "needs an encoder with adapters"),
    ],
)
def test_impossible_combinations_are_refused(method, message, small_encoder):
    model, encoder = classifier(small_encoder())
    with pytest.raises(ValueError, match=message):
        freezing.set_trainable(model, encoder, method)
    assert type(encoder) is networks.BertEncoderV2


def bert(hidden, blocks, heads):
    return networks.BertEncoderV2(
        vocab_size=30522,
        hidden_size=hidden,
        num_layers=blocks,
        num_attention_heads=heads,
        inner_dim=4 * hidden,
        type_vocab_size=2,
    )


def test_counts_of_bert_base_are_the_papers():
    encoder = add_adapters(bert(768, 12, 12), AdapterConfig(64))
    pooled = encoder(encoder.inputs)["pooled_output"]
    model = tf_keras.Model(encoder.inputs, pooled)
    freezing.set_trainable(model, encoder)
    counts = count_parameters(model, encoder)
    assert counts.trained == 2_379_264 + 38_400
    assert counts.base == 109_482_240
    assert counts.total == counts.base + 2_379_264
    # Table 1 says 1.2x for nine tasks of BERT-large; BERT-base is as near.
    assert round(counts.times_base(9), 1) == 1.2
    freezing.set_trainable(model, encoder, "full")
    assert count_parameters(model, encoder).trained_percent == 100


def test_nine_fine_tuned_copies_are_nine_times_the_base(small_encoder):
    encoder = small_encoder()
    model = tf_keras.Model(encoder.inputs, encoder(encoder.inputs)["pooled_output"])
    freezing.set_trainable(model, encoder, "full")
    assert count_parameters(model, encoder).times_base(9) == 9.0


def test_times_base_by_hand():
    counts = ParameterCounts(base=100, total=110, trained=14)
    assert counts.times_base(1) == 1.10
    assert counts.times_base(3) == (96 + 3 * 14) / 100
    assert counts.trained_percent == 100 * 14 / 110
    with pytest.raises(ValueError, match="tasks"):
        counts.times_base(0)


@pytest.mark.parametrize("method", METHODS)
def test_training_leaves_frozen_variables_bit_identical_on_real_weights(method, minilm):
    encoder = load_hugging_face(minilm.folder, output_range=1)
    if method == "adapters":
        add_adapters(encoder, AdapterConfig(8))
    model, _ = classifier(encoder)
    freezing.set_trainable(model, encoder, method_named(method))
    rng = np.random.default_rng(0)
    ids = rng.integers(1000, 30000, (8, 12)).astype("int32")
    inputs = {
        "input_word_ids": ids,
        "input_mask": np.ones_like(ids),
        "input_type_ids": np.zeros_like(ids),
    }
    names = {id(v): name for name, v in encoder_variables(encoder).items()}
    before = {id(v): v.numpy() for v in model.variables}
    optimizer = tf_keras.optimizers.AdamW(1e-3)
    model.compile(optimizer, tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(inputs, rng.integers(0, 3, 8), batch_size=4, epochs=2, verbose=0)
    assert model.non_trainable_variables or method == "full"
    for variable in model.non_trainable_variables:
        assert np.array_equal(variable.numpy(), before[id(variable)]), names[id(variable)]
    for variable in model.trainable_variables:
        # Attention does not see a bias that is the same for every key.
        if not names.get(id(variable), "head").endswith("key/bias"):
            assert not np.array_equal(variable.numpy(), before[id(variable)])
    slots = sum(v.shape.num_elements() for v in optimizer.variables if v.shape.rank)
    counts = count_parameters(model, encoder)
    assert slots == 2 * counts.trained
