import shutil

import pytest
import tensorflow as tf
import tf_keras
from official.legacy.bert import configs
from official.nlp.configs import encoders
from official.nlp.modeling import models, networks
from official.nlp.tools import export_tfhub_lib
from tensorflow.core.protobuf import saved_model_pb2

from keras_adapters.converters import formats
from keras_adapters.converters.load import load_encoder
from keras_adapters.converters.saved_model import read_lower_case
from keras_adapters.converters.saved_model_proto import read_saved_model_config

SIZES = {
    "vocab_size": 53,
    "hidden_size": 18,
    "num_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 26,
    "max_position_embeddings": 40,
    "type_vocab_size": 4,
}


@pytest.fixture(scope="session")
def hub(tmp_path_factory, odd):
    """A SavedModel of a functional BertEncoder with its masked-language head, and the encoder."""
    folder = odd.write_bert_config(tmp_path_factory.mktemp("hub"), vocabulary=odd.cased)
    encoder = odd.encoder(networks.BertEncoder)
    pretrainer = models.BertPretrainerV2(encoder)
    pretrainer(pretrainer.inputs)
    checkpoint = tf.train.Checkpoint(**pretrainer.checkpoint_items).save(str(folder / "ckpt"))
    config = configs.BertConfig.from_json_file(str(folder / "bert_config.json"))
    export_tfhub_lib.export_model(
        str(folder / "exported"),
        bert_config=config,
        model_checkpoint_path=checkpoint,
        with_mlm=True,
        vocab_file=str(folder / "vocab.txt"),
        do_lower_case=False,
    )
    return folder / "exported", encoder


def export(tmp_path, odd, encoder, **settings):
    """A SavedModel of an encoder by way of Model Garden's configuration."""
    checkpoint = tf.train.Checkpoint(model=encoder, encoder=encoder).save(str(tmp_path / "ckpt"))
    odd.write_bert_config(tmp_path)
    config = encoders.EncoderConfig(
        type="bert", bert=encoders.BertEncoderConfig(**SIZES, **settings)
    )
    export_tfhub_lib.export_model(
        str(tmp_path / "exported"),
        encoder_config=config,
        model_checkpoint_path=checkpoint,
        with_mlm=False,
        vocab_file=str(tmp_path / "vocab.txt"),
        do_lower_case=True,
    )
    return tmp_path / "exported"


def save_core_model(encoder, path):
    """Saves as the exporter does, of an encoder that its configurations cannot describe."""
    inputs = {name: tf_keras.Input((None,), dtype=tf.int32, name=name) for name in encoder.inputs}
    tf_keras.Model(inputs, encoder(inputs)).save(path, include_optimizer=False, save_format="tf")
    return path


def test_outputs_equal_those_of_the_encoder_that_was_exported(hub, odd):
    folder, encoder = hub
    loaded = load_encoder(folder)
    odd.assert_same(loaded, encoder)
    assert loaded.get_config()["inner_activation"] == "Text>gelu"
    assert read_lower_case(formats.recognise(folder)) is False


def test_sizes_are_read_from_the_graph(hub, odd):
    config = formats.recognise(hub[0]).config
    sizes = {name: value for name, value in odd.config.items() if isinstance(value, int)}
    assert {name: config[name] for name in sizes} == sizes
    assert (config["embedding_size"], config["hidden_act"]) == (18, "gelu_new")
    assert config["hidden_dropout_prob"] == config["attention_probs_dropout_prob"] == 0.1


def test_an_export_of_a_layer_by_model_gardens_configuration(tmp_path, odd):
    encoder = odd.encoder(activation="relu", embedding_width=10)
    folder = export(tmp_path, odd, encoder, hidden_activation="relu", embedding_size=10)
    odd.assert_same(load_encoder(folder, output_range=None), encoder)
    assert load_encoder(folder, output_range=1).get_config()["inner_activation"] == "relu"
    assert read_lower_case(formats.recognise(folder)) is True


def test_the_activation_is_read_from_the_operations(tmp_path, odd):
    encoder = odd.encoder(activation="gelu")
    folder = save_core_model(encoder, tmp_path / "exported")
    loaded = load_encoder(folder)
    assert loaded.get_config()["inner_activation"] == "gelu"
    odd.assert_same(loaded, encoder)
    assert read_lower_case(formats.recognise(folder)) is None


def test_another_computation_with_the_same_variables_is_refused(tmp_path, odd):
    folder = save_core_model(odd.encoder(norm_first=True), tmp_path / "exported")
    with pytest.raises(ValueError, match="computes something else than a BERT with"):
        load_encoder(folder)


@pytest.mark.parametrize(
    ("op", "message"), [("Elu", "Found those of: none"), ("Relu6", "none"), ("Pow", "gelu_new")]
)
def test_an_activation_that_cannot_be_told_is_refused(op, message, hub, tmp_path):
    proto = saved_model_pb2.SavedModel.FromString((hub[0] / "saved_model.pb").read_bytes())
    functions = proto.meta_graphs[0].graph_def.library.function
    for node in (node for function in functions for node in function.node_def):
        node.op = node.op.replace("Pow", op).replace("Softmax", "Erf" if op == "Pow" else "Softmax")
    (tmp_path / "saved_model.pb").write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=f"do not tell the activation.*{message}"):
        read_saved_model_config(tmp_path / "saved_model.pb")


def test_other_saved_models_are_refused(tmp_path):
    class Doubler(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([], tf.float32)])
        def __call__(self, x):
            return 2 * x

    tf.saved_model.save(Doubler(), str(tmp_path / "doubler"))
    with pytest.raises(ValueError, match=r"one BERT encoder .*Found: 0"):
        load_encoder(tmp_path / "doubler")


@pytest.mark.parametrize(
    "name", ["variables/variables.data-00000-of-00001", "variables/variables.index"]
)
def test_a_missing_file_is_named(name, hub, tmp_path):
    folder = shutil.copytree(hub[0], tmp_path / "copy")
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"Missing: .*{name}"):
        load_encoder(folder)


def test_a_file_that_is_no_saved_model(hub, tmp_path):
    folder = shutil.copytree(hub[0], tmp_path / "copy")
    (folder / "saved_model.pb").write_bytes(b"\xff\xff")
    with pytest.raises(ValueError, match=r"saved_model\.pb is not a SavedModel"):
        load_encoder(folder)
