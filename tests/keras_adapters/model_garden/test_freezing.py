import warnings

import keras
import numpy as np
import pytest
import tf_keras
from official.nlp.modeling import models, networks

from keras_adapters import METHODS, AdapterConfig, Method, freezing
from keras_adapters.converters.load import load_encoder
from keras_adapters.model_garden import add_adapters
from keras_adapters.summary import count_parameters
from keras_adapters.variables import encoder_variables


def classifier(encoder):
    pooled = encoder(encoder.inputs)["pooled_output"]
    model = tf_keras.Model(encoder.inputs, tf_keras.layers.Dense(3, name="logits")(pooled))
    return model, encoder


def two_blocks():
    return networks.BertEncoderV2(50, 16, 2, 2, 32, 2, 24)


def method_named(name):
    return Method.named(name, top_layers=1) if name == "top_layers" else name


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


@pytest.mark.parametrize(
    ("method", "real"), [*((method, False) for method in METHODS), ("adapters", True)]
)
def test_training_leaves_frozen_variables_bit_identical(method, real, minilm):
    encoder = load_encoder(minilm.folder, output_range=1) if real else two_blocks()
    if method == "adapters":
        add_adapters(encoder, AdapterConfig(8))
    model, _ = classifier(encoder)
    freezing.set_trainable(model, encoder, method_named(method))
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 50, (8, 12)).astype("int32")
    inputs = {
        "input_word_ids": ids,
        "input_mask": np.ones_like(ids),
        "input_type_ids": np.zeros_like(ids),
    }
    names = {id(v): name for name, v in encoder_variables(encoder).items()}
    before = {id(v): v.numpy() for v in model.variables}
    optimizer = tf_keras.optimizers.AdamW(1e-3)
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, run_eagerly=not real)
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


def test_a_name_means_the_adapters_that_are_there(small_encoder):
    model, encoder = classifier(add_adapters(small_encoder(), AdapterConfig(4)))
    freezing.set_trainable(model, encoder, "adapters")
    assert encoder.method == Method.of(AdapterConfig(4))
    with pytest.raises(ValueError, match=r"size=4(.|\n)*size=5"):
        freezing.set_trainable(model, encoder, AdapterConfig(5))
    # Other methods leave the adapters in, and the config goes on telling of them.
    freezing.set_trainable(model, encoder, "layer_norm")
    assert encoder.method == Method(AdapterConfig(4), "layer_norms")


def test_an_encoder_that_was_frozen_by_hand_trains_again(small_encoder):
    model, encoder = classifier(small_encoder())
    model.trainable = encoder.trainable = False
    freezing.set_trainable(model, encoder, "full")
    assert len(model.trainable_variables) == len(model.variables)


def test_an_encoder_that_is_not_in_the_model_is_refused(small_encoder):
    model, _ = classifier(small_encoder())
    other = small_encoder()
    with pytest.raises(ValueError, match="`encoder` must be in `model`"):
        freezing.set_trainable(model, other, "feature_based")
    assert type(other) is networks.BertEncoderV2
    assert len(model.trainable_variables) == len(model.variables)
    assert len(other.trainable_variables) == len(other.variables)


def test_an_encoder_that_is_not_built_is_refused(small_encoder):
    encoder = networks.BertEncoderV2(50, 16, 2, 2, 32, 2, 24)
    inputs = tf_keras.Input((4,))
    model = tf_keras.Model(inputs, tf_keras.layers.Dense(2)(inputs))
    model.later = encoder
    with pytest.raises(ValueError, match="must be built"):
        freezing.set_trainable(model, encoder, "feature_based")
    encoder.build(None)  # Marks the encoder as built, but makes none of its blocks.
    with pytest.raises(ValueError, match="must be built"):
        freezing.set_trainable(model, encoder, "feature_based")


def test_a_compiled_model_is_refused(small_encoder):
    model, encoder = classifier(small_encoder())
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="must not be compiled yet"):
        freezing.set_trainable(model, encoder, "feature_based")
    assert len(model.trainable_variables) == len(model.variables)
    # As the error says:
    anew = tf_keras.Model(model.input, model.output)
    freezing.set_trainable(anew, encoder, "feature_based")
    assert len(anew.trainable_variables) == 2


def test_a_compiled_model_inside_the_model_is_refused(small_encoder):
    inner, encoder = classifier(small_encoder())
    inner.compile("sgd", "mse")
    model = tf_keras.Model(encoder.inputs, tf_keras.layers.Dense(2)(inner(encoder.inputs)))
    with pytest.raises(ValueError, match="must not be compiled yet"):
        freezing.set_trainable(model, encoder, "feature_based")
    assert len(model.trainable_variables) == len(model.variables)


@pytest.mark.parametrize("model", [None, "model", keras.Sequential()], ids=str)
def test_what_is_no_model_of_tf_keras_is_refused(model, small_encoder):
    with pytest.raises(ValueError, match=r"must be (of one Keras, |a model of )tf_keras"):
        freezing.set_trainable(model, small_encoder(), "full")


def test_a_class_derived_from_an_encoders_is_refused(small_encoder):
    class Derived(networks.BertEncoderV2):
        pass

    model, encoder = classifier(small_encoder(Derived))
    with pytest.raises(ValueError, match="not of a class derived"):
        freezing.set_trainable(model, encoder, "feature_based")
    assert len(model.trainable_variables) == len(model.variables)


def test_an_encoder_that_predicted_before_uses_what_was_inserted(small_encoder, tokens):
    config = AdapterConfig(4, init_stddev=0.5)
    for change in (freezing.adapt, add_adapters):
        encoder = small_encoder(networks.BertEncoder)
        before = encoder.predict(tokens, verbose=0)["pooled_output"]
        change(encoder, config)
        after = encoder.predict(tokens, verbose=0)["pooled_output"]
        np.testing.assert_allclose(after, encoder(tokens)["pooled_output"], atol=1e-6)
        assert np.abs(after - before).max() > 1e-4


def test_an_encoder_that_is_itself_a_compiled_model_is_refused(small_encoder):
    encoder = small_encoder(networks.BertEncoder)
    encoder.compile("sgd", "mse")
    for change in (freezing.adapt, add_adapters):
        with pytest.raises(ValueError, match="must not be compiled yet"):
            change(encoder, AdapterConfig(4))
    assert type(encoder) is networks.BertEncoder


def test_an_encoder_whose_layers_are_in_the_model_is_in_it(small_encoder):
    encoder = small_encoder(networks.BertEncoder)
    states = encoder.output["sequence_output"]
    model = tf_keras.Model(encoder.input, tf_keras.layers.Dense(3)(states))
    assert not any(layer is encoder for layer in model.submodules)
    freezing.set_trainable(model, encoder, "feature_based")
    assert len(model.trainable_variables) == 2


def two_encoders(small_encoder):
    first, second = small_encoder(), small_encoder()
    both = [encoder(first.inputs)["pooled_output"] for encoder in (first, second)]
    hidden = tf_keras.layers.Concatenate()(both)
    return tf_keras.Model(first.inputs, tf_keras.layers.Dense(3)(hidden)), first, second


@pytest.mark.parametrize("freeze", ["by hand", "by a method", "in part"])
def test_a_second_encoder_stays_as_it_is(freeze, small_encoder):
    model, first, second = two_encoders(small_encoder)
    if freeze == "by hand":
        second.trainable = False
    elif freeze == "by a method":
        freezing.adapt(second, AdapterConfig(4))
    else:
        second.transformer_layers[1].trainable = False
    before = [id(v) for v in second.trainable_variables]
    flags = second.trainable, second.transformer_layers[1].trainable
    freezing.set_trainable(model, first, "full")
    assert [id(v) for v in second.trainable_variables] == before
    assert (second.trainable, second.transformer_layers[1].trainable) == flags
    assert len(model.trainable_variables) == len(first.variables) + len(before) + 2


def masked_language_model(encoder):
    model = models.BertPretrainerV2(encoder)
    model({**encoder.inputs, "masked_lm_positions": tf_keras.Input((None,), dtype="int32")})
    return model


def test_tied_word_embeddings_are_frozen_and_come_back(small_encoder):
    encoder = small_encoder()
    model = masked_language_model(encoder)
    table = encoder.get_embedding_table()
    before = [id(v) for v in model.trainable_variables]

    def trains_table():
        return any(variable is table for variable in model.trainable_variables)

    assert trains_table()
    add_adapters(encoder, AdapterConfig(4))
    for method in ("adapters", "feature_based", Method.named("top_layers", top_layers=1)):
        freezing.set_trainable(model, encoder, method)
        assert not trains_table()
        assert any(variable is table for variable in model.non_trainable_variables)
        assert len(model.variables) == len(model.trainable_variables) + len(
            model.non_trainable_variables
        )
    freezing.set_trainable(model, encoder, "full")
    assert trains_table()
    assert {id(v) for v in model.trainable_variables} > set(before)


def test_a_head_that_would_train_the_frozen_word_embeddings_is_warned_of(tmp_path):
    encoder = freezing.adapt(two_blocks(), AdapterConfig(4))
    with pytest.warns(UserWarning, match=r"are frozen(.|\n)*set_trainable"):
        model = masked_language_model(encoder)
    freezing.set_trainable(model, encoder)
    trained = len(model.trainable_variables)
    model.save(tmp_path / "saved_model")
    with pytest.warns(UserWarning, match="are frozen"):
        again = tf_keras.models.load_model(tmp_path / "saved_model")
    freezing.set_trainable(again, again.encoder_network)
    assert len(again.trainable_variables) == trained
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        freezing.adapt(encoder, Method(AdapterConfig(4), trains="all")).get_embedding_table()


def test_adapt_is_both_halves(small_encoder, tokens):
    model, encoder = classifier(small_encoder())
    before = model(tokens)
    assert freezing.adapt(encoder, AdapterConfig(8, init_stddev=1.0)) is encoder
    assert np.abs(model(tokens) - before).max() > 1e-3
    once = [id(v) for v in model.trainable_variables]
    freezing.set_trainable(model, encoder, AdapterConfig(8, init_stddev=1.0))
    assert [id(v) for v in model.trainable_variables] == once


def test_adapt_after_adapt(small_encoder):
    encoder = freezing.adapt(small_encoder(), "layer_norm")
    norms = len(encoder.trainable_variables)
    freezing.adapt(encoder, AdapterConfig(4))
    both = len(encoder.trainable_variables)
    assert both == norms + 6 * 4
    # The same again only changes what trains; so does the name of what is there.
    variables = [id(v) for v in encoder.variables]
    freezing.adapt(encoder, Method(AdapterConfig(4), trains="nothing"))
    assert len(encoder.trainable_variables) == 6 * 4
    freezing.adapt(encoder, "adapters")
    assert len(encoder.trainable_variables) == both
    assert sorted(id(v) for v in encoder.variables) == sorted(variables)
    for other in (AdapterConfig(5), "layer_norm", "full"):
        with pytest.raises(ValueError, match="has adapters already"):
            freezing.adapt(encoder, other)
    assert len(encoder.trainable_variables) == both


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("prefix", "`method` must be one of"),
        (None, "`method` must be a Method"),
        (Method.named("top_layers", top_layers=4), "must be 1 to 3"),
        (AdapterConfig(4, layers=(3,)), "3 blocks"),
        (AdapterConfig(4, activation="no_such"), "`activation`"),
    ],
)
def test_after_an_error_of_adapt_all_is_as_it_was(method, message, small_encoder):
    encoder = small_encoder()
    with pytest.raises(ValueError, match=message):
        freezing.adapt(encoder, method)
    assert type(encoder) is networks.BertEncoderV2
    assert len(encoder.trainable_variables) == len(encoder.variables) == 55


METHODS_TOLD = [
    "full",
    "feature_based",
    "layer_norm",
    Method.named("top_layers", top_layers=1),
    Method(AdapterConfig(4), trains="nothing"),
]


@pytest.mark.parametrize("form", ["clone", "model.keras", "model.h5", "saved_model"])
def test_every_method_survives_reloading(form, tmp_path):
    for method in METHODS_TOLD[-2:] if form == "saved_model" else METHODS_TOLD:
        encoder = freezing.adapt(two_blocks(), method)
        model, _ = classifier(encoder)
        encoder.pooler_layer.trainable = False  # What is frozen by hand is kept too.
        if form == "clone":
            again = tf_keras.models.clone_model(model)
        else:
            model.save(tmp_path / form)
            again = tf_keras.models.load_model(tmp_path / form)
        (inside,) = (layer for layer in again.layers if isinstance(layer, type(encoder)))
        assert inside.method == Method.of(method)
        assert inside.get_config() == encoder.get_config()
        names = [
            {name for name, v in encoder_variables(e).items() if id(v) in trained}
            for m, e in ((model, encoder), (again, inside))
            for trained in [{id(v) for v in m.trainable_variables}]
        ]
        assert names[0] == names[1]
        assert len(again.trainable_variables) == len(model.trainable_variables)
        # It can still be told otherwise, and by hand.
        again.set_weights(model.get_weights())
        inside.trainable = True
        again.set_weights(again.get_weights())
        assert len(inside.trainable_variables) == len(inside.variables)


def test_a_config_of_before_methods_were_told_loads(small_encoder, tokens):
    encoder = add_adapters(small_encoder(), AdapterConfig(4))
    config = encoder.get_config()
    old = {k: v for k, v in config.items() if k not in ("method", "frozen")}
    again = type(encoder).from_config({**old, "adapter_config": AdapterConfig(4).to_json()})
    assert again.adapter_config == AdapterConfig(4)
    assert again.get_config() == config
