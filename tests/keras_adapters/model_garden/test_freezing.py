import numpy as np
import pytest
import tf_keras
from official.nlp.modeling import networks

from keras_adapters import METHODS, AdapterConfig, Method
from keras_adapters.converters.load import load_encoder
from keras_adapters.model_garden import add_adapters, freezing
from keras_adapters.model_garden.summary import count_parameters
from keras_adapters.model_garden.variables import encoder_variables


def classifier(encoder):
    pooled = encoder(encoder.inputs)["pooled_output"]
    model = tf_keras.Model(encoder.inputs, tf_keras.layers.Dense(3, name="logits")(pooled))
    return model, encoder


def method_named(name):
    return Method.named(name, top_layers=2) if name == "top_layers" else name


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


@pytest.mark.parametrize("method", METHODS)
def test_training_leaves_frozen_variables_bit_identical_on_real_weights(method, minilm):
    encoder = load_encoder(minilm.folder, output_range=1)
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
