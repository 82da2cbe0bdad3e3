import numpy as np
import pytest
import tensorflow as tf
import tf_keras
import yaml
from official.core import exp_factory, train_utils
from official.modeling import tf_utils
from official.nlp.configs import (
    encoders,
    experiment_configs,  # noqa: F401 (it registers the experiments)
)
from official.nlp.modeling import layers, models, networks

from keras_adapters.converters.load import load_encoder

SIZES = {
    "vocab_size": 53,
    "hidden_size": 18,
    "num_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 26,
    "max_position_embeddings": 40,
    "type_vocab_size": 4,
}
ENCODERS = (networks.BertEncoderV2, networks.BertEncoder)


def numbers_alone(encoder):
    """A functional encoder as it was before 2021, whose parts had numbers and no attributes."""
    return tf_keras.Model(encoder.inputs, encoder.outputs)


def pretrainer(encoder, **kwargs):
    model = models.BertPretrainerV2(
        encoder, mlm_activation=tf_utils.get_activation("gelu"), **kwargs
    )
    model(model.inputs)
    return model


def pretraining_items(encoder):
    model = pretrainer(encoder)
    optimizer = tf_keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    step = tf.Variable(3, dtype=tf.int64)
    return {"model": model, "optimizer": optimizer, "global_step": step, **model.checkpoint_items}


def classifier_items(encoder):
    model = models.BertClassifier(encoder, num_classes=3)
    return {"model": model, **model.checkpoint_items}


CHECKPOINTS = {
    "model": lambda encoder: {"model": encoder},
    "encoder": lambda encoder: {"encoder": encoder},
    "pretraining": pretraining_items,
    "pretrainer alone": lambda encoder: {"model": pretrainer(encoder)},
    "classifier": classifier_items,
}


@pytest.fixture
def folder(tmp_path, odd):
    """Writes a checkpoint of some objects beside a bert_config.json."""

    def write(**items):
        tf.train.Checkpoint(**items).save(str(tmp_path / "ckpt"))
        return odd.write_bert_config(tmp_path)

    return write


@pytest.mark.parametrize("items", CHECKPOINTS)
@pytest.mark.parametrize("cls", ENCODERS)
def test_outputs_equal_those_of_the_encoder_that_was_saved(cls, items, folder, odd):
    encoder = odd.encoder(cls)
    odd.assert_same(load_encoder(folder(**CHECKPOINTS[items](encoder))), encoder)


def test_a_functional_encoder_without_attributes(folder, odd):
    encoder = odd.encoder(networks.BertEncoder)
    odd.assert_same(load_encoder(folder(model=numbers_alone(encoder))), encoder)


@pytest.mark.parametrize("cls", ENCODERS)
def test_narrow_embeddings(cls, tmp_path, odd):
    encoder = odd.encoder(cls, embedding_width=10)
    tf.train.Checkpoint(encoder=encoder).write(str(tmp_path / "ckpt"))
    odd.write_bert_config(tmp_path, embedding_size=10)
    odd.assert_same(load_encoder(tmp_path), encoder)


def test_narrow_embeddings_without_attributes(tmp_path, odd):
    encoder = odd.encoder(networks.BertEncoder, embedding_width=10)
    tf.train.Checkpoint(model=numbers_alone(encoder)).write(str(tmp_path / "ckpt"))
    odd.write_bert_config(tmp_path, embedding_size=10)
    odd.assert_same(load_encoder(tmp_path), encoder)


def test_the_pooler_that_next_sentence_prediction_trained_is_taken(folder, odd):
    encoder = odd.encoder()
    head = layers.ClassificationHead(inner_dim=18, num_classes=2, name="next_sentence")
    model = pretrainer(encoder, classification_heads=[head])
    rng = np.random.default_rng(5)
    for variable in head.variables:
        variable.assign(rng.normal(size=variable.shape))
    loaded = load_encoder(folder(model=model, **model.checkpoint_items))
    np.testing.assert_array_equal(loaded.pooler_layer.kernel, head.dense.kernel)
    np.testing.assert_array_equal(loaded.pooler_layer.bias, head.dense.bias)
    np.testing.assert_array_equal(odd.outputs(loaded)[0], odd.outputs(encoder)[0])


@pytest.mark.parametrize("experiment", ["bert/pretraining", "bert/sentence_prediction"])
def test_the_yaml_file_of_an_experiment(experiment, tmp_path, odd):
    params = exp_factory.get_exp_config(experiment)
    params.override({"task": {"model": {"encoder": {"type": "bert", "bert": SIZES}}}})
    train_utils.serialize_config(params, str(tmp_path))
    encoder = encoders.build_encoder(params.task.model.encoder)
    encoder(encoder.inputs)
    tf.train.Checkpoint(encoder=encoder).write(str(tmp_path / "ckpt-1000"))
    odd.assert_same(load_encoder(tmp_path), encoder)


@pytest.mark.parametrize("activation", ["relu", "swish"])
def test_other_activations(activation, tmp_path, odd):
    encoder = odd.encoder(activation=tf_utils.get_activation(activation))
    tf.train.Checkpoint(model=encoder).write(str(tmp_path / "ckpt"))
    settings = {"encoder": {"type": "bert", "bert": {**SIZES, "hidden_activation": activation}}}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(settings))
    odd.assert_same(load_encoder(tmp_path), encoder)


def test_missing_extra_and_misshaped_are_reported_together(folder, odd):
    encoder = odd.encoder()
    path = folder(model=encoder)
    odd.write_bert_config(path, num_hidden_layers=1, vocab_size=52, embedding_size=10)
    with pytest.raises(ValueError, match="does not fit the model") as error:
        load_encoder(path)
    for part in (
        "missing: embeddings/projection/kernel",
        "extra: layer_1/intermediate/bias",
        "shape of embeddings/type: [4, 18], not [4, 10]",
        "shape of embeddings/word: [53, 18], not [52, 10]",
    ):
        assert part in str(error.value)


def test_wrong_number_of_heads_is_found(folder, odd):
    path = folder(model=odd.encoder())
    odd.write_bert_config(path, num_attention_heads=2)
    with pytest.raises(ValueError, match=r"query/kernel: \[18, 3, 6\], not \[18, 2, 9\]"):
        load_encoder(path)


def test_no_encoder_or_two(folder, odd):
    with pytest.raises(ValueError, match=r"one BERT encoder .*Found: 0"):
        load_encoder(folder(layer=tf_keras.layers.LayerNormalization(name="norm")))


def test_two_encoders(folder, odd):
    with pytest.raises(ValueError, match=r"one BERT encoder .*Found: 2"):
        load_encoder(folder(generator=odd.encoder(), discriminator=odd.encoder()))
