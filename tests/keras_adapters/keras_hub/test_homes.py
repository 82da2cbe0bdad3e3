"""One adapter file, two homes: tf-models-official's BERT and KerasHub's give the same answers."""

import keras
import keras_hub
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
import tf_keras

import keras_adapters as ka
from keras_adapters.keras_hub.converters import load_backbone, load_preprocessor
from keras_adapters.keras_hub.exact_bert import ExactBertBackbone
from keras_adapters.original import base_of
from keras_adapters.variables import encoder_variables

METHODS = {
    "adapters": ka.AdapterConfig(size=5),
    "after_norm": ka.AdapterConfig(size=5, form="after_norm", places=("feed_forward",)),
    "parallel": ka.AdapterConfig(size=5, form="parallel", scale="learned", layers=(1,)),
    "gated": ka.AdapterConfig(
        reduction_factor=4, activation="relu", norm="layer", hidden_layers=2, gate=True
    ),
    "top_layers": ka.Method.named("top_layers", top_layers=1),
    "full": "full",
}
CLASSES, STEPS = 3, 5
BERT = {
    "vocabulary_size": 53,
    "num_layers": 2,
    "num_heads": 3,
    "hidden_dim": 18,
    "intermediate_dim": 26,
    "max_sequence_length": 40,
    "num_segments": 4,
}


def some_inputs(examples=8, seed=1):
    """Random texts by KerasHub's names, all but the first ones padded."""
    rng = np.random.default_rng(seed)
    shape = (examples, 7)
    mask = (np.arange(7) < 7 - np.arange(examples)[:, None] % 4).astype("int32")
    words, types = (rng.integers(n, size=shape).astype("int32") for n in (53, 4))
    return {"token_ids": words, "padding_mask": mask, "segment_ids": types}


def official_inputs(inputs):
    names = {"word_ids": "token_ids", "mask": "padding_mask", "type_ids": "segment_ids"}
    return {f"input_{ours}": np.asarray(inputs[name], "int32") for ours, name in names.items()}


class Official:
    """An encoder of tf-models-official, and a classifier on it."""

    keras = tf_keras

    def __init__(self, encoder):
        self.encoder = encoder

    def build(self):
        outputs = self.encoder(self.encoder.inputs)
        self.model = classifier(tf_keras, self.encoder.inputs, outputs, "input_mask")
        return self

    def inputs(self, inputs):
        return official_inputs(inputs)


class Hub:
    """A backbone of KerasHub, and a classifier on it."""

    keras = keras

    def __init__(self, encoder):
        self.encoder = encoder

    def build(self):
        outputs = self.encoder(self.encoder.input)
        self.model = classifier(keras, self.encoder.input, outputs, "padding_mask")
        return self

    def inputs(self, inputs):
        return inputs


def classifier(kind, inputs, outputs, mask):
    """A head that reads all that a BERT gives, under the same names in either Keras."""
    mean = kind.layers.GlobalAveragePooling1D(name="mean")
    pooled = mean(outputs["sequence_output"], mask=inputs[mask])
    features = kind.layers.Concatenate(name="both")([pooled, outputs["pooled_output"]])
    hidden = kind.layers.Dense(6, "tanh")(features)
    return kind.Model(inputs, kind.layers.Dense(CLASSES, name="logits")(hidden))


def logits(home, inputs):
    answers = home.model(home.inputs(inputs), training=False)
    return keras.ops.convert_to_numpy(answers) if home.keras is keras else answers.numpy()


def train(home, inputs):
    home.keras.utils.set_random_seed(0)
    loss = home.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # The compilers would take longer than the steps.
    home.model.compile(home.keras.optimizers.Adam(2e-2), loss, run_eagerly=True)
    labels = np.arange(len(inputs["token_ids"])) % CLASSES
    home.model.fit(home.inputs(inputs), labels, epochs=STEPS, verbose=0)


@pytest.fixture
def homes(odd):
    """Makes one base anew in each home: a tiny one of random variables."""

    def make():
        encoder = odd.encoder(activation="gelu")
        backbone = ExactBertBackbone(**BERT, activation="gelu")
        values = encoder_variables(encoder)
        for name, variable in encoder_variables(backbone).items():
            variable.assign(values[name].numpy())
        return {"official": Official(encoder), "hub": Hub(backbone)}

    return make


def assert_moves(start, goal, path, inputs, method):
    """Trains in one home, and holds what the other makes of the file against it."""
    assert base_of(start.encoder) == base_of(goal.encoder)
    ka.adapt(start.encoder, method)
    start.build()
    before = logits(start, inputs)
    train(start, inputs)
    trained = logits(start, inputs)
    assert np.abs(trained - before).max() > 0.1
    ka.save_adapter(path, start.model, start.encoder, {"labels": ["a", "b", "c"]})

    goal.build()
    assert np.abs(logits(goal, inputs) - trained).max() > 0.1
    assert ka.load_adapter(path, goal.model, goal.encoder) == {"labels": ["a", "b", "c"]}
    np.testing.assert_allclose(logits(goal, inputs), trained, rtol=0, atol=1e-4)
    ours, theirs = (ka.count_parameters(home.model, home.encoder).trained for home in (start, goal))
    assert ours == theirs


@pytest.mark.parametrize(
    ("start", "goal", "name"),
    [
        *(("official", "hub", name) for name in METHODS),
        *(("hub", "official", name) for name in ("adapters", "full")),
    ],
)
def test_what_one_home_trains_the_other_has(start, goal, name, homes, tmp_path):
    made = homes()
    assert_moves(made[start], made[goal], tmp_path / "adapter", some_inputs(), METHODS[name])


def test_there_and_back_no_value_has_changed(homes, tmp_path):
    first, second = homes(), homes()
    assert_moves(
        first["official"], second["hub"], tmp_path / "there", some_inputs(), METHODS["adapters"]
    )
    hub = second["hub"]
    ka.save_adapter(tmp_path / "back", hub.model, hub.encoder, {"labels": ["a", "b", "c"]})
    there, back = (
        safetensors.numpy.load_file(tmp_path / folder / "adapter.safetensors")
        for folder in ("there", "back")
    )
    assert there.keys() == back.keys()
    for name, value in there.items():
        np.testing.assert_array_equal(back[name], value)


def test_another_base_is_refused_across_homes(homes, tmp_path):
    made = homes()
    ka.adapt(made["official"].encoder, METHODS["adapters"])
    made["official"].build()
    ka.save_adapter(tmp_path / "adapter", made["official"].model, made["official"].encoder)
    usual = keras_hub.models.BertBackbone(**BERT)
    for name, variable in encoder_variables(usual).items():
        variable.assign(encoder_variables(made["hub"].encoder)[name].numpy())
    with pytest.raises(ka.AdapterFileError, match="activation: 'gelu"):
        ka.load_adapter(tmp_path / "adapter", None, usual)


def test_the_packaged_encoder_on_real_text(minilm, tmp_path):
    texts = ["net profit rose to 12 mln dlrs", "opec cut crude output", "wheat harvest smaller"]
    inputs = load_preprocessor(minilm.folder, 16)(texts * 3)
    inputs = {name: keras.ops.convert_to_numpy(value) for name, value in inputs.items()}
    official, hub = Official(ka.load_encoder(minilm.checkpoint)), Hub(load_backbone(minilm.folder))
    assert_moves(official, hub, tmp_path / "adapter", inputs, ka.AdapterConfig(size=8))


def test_both_preprocessors_prepare_alike(minilm):
    """Of what BERT's own tokeniser keeps whole, KerasHub's takes apart the last one here."""
    texts = ["A naïve café,  co-operative\tU.S. $1.50 (50%)", "日本 stocks", "wait… ½"]
    theirs = official_inputs(load_preprocessor(minilm.folder, 24)(texts))
    ours = ka.BertPreprocessor(minilm.vocab_file, True, 24)([tf.constant(texts)])
    for name, value in theirs.items():
        np.testing.assert_array_equal(value[:2], ours[name][:2])
    assert not np.array_equal(theirs["input_word_ids"][2], ours["input_word_ids"][2])
