import numpy as np
import pytest
import tensorflow as tf
from official.legacy.bert import configs
from official.nlp.tools import export_tfhub_lib, tf2_bert_encoder_checkpoint_converter

from keras_adapters.converters.load import load_encoder


def release_variables(layers=2):
    """Random variables with the names and shapes of google-research/bert's modeling.py."""
    shapes = {
        "bert/embeddings/word_embeddings": (53, 18),
        "bert/embeddings/position_embeddings": (40, 18),
        "bert/embeddings/token_type_embeddings": (4, 18),
        "bert/pooler/dense/kernel": (18, 18),
        "bert/pooler/dense/bias": (18,),
        "cls/predictions/transform/dense/kernel": (18, 18),
        "cls/predictions/transform/dense/bias": (18,),
        "cls/predictions/output_bias": (53,),
        "cls/seq_relationship/output_weights": (2, 18),
        "cls/seq_relationship/output_bias": (2,),
    }
    norms = ["bert/embeddings/LayerNorm", "cls/predictions/transform/LayerNorm"]
    for layer in range(layers):
        block = f"bert/encoder/layer_{layer}"
        norms += [f"{block}/attention/output/LayerNorm", f"{block}/output/LayerNorm"]
        for name, shape in {
            "attention/self/query": (18, 18),
            "attention/self/key": (18, 18),
            "attention/self/value": (18, 18),
            "attention/output/dense": (18, 18),
            "intermediate/dense": (18, 26),
            "output/dense": (26, 18),
        }.items():
            shapes |= {f"{block}/{name}/kernel": shape, f"{block}/{name}/bias": shape[1:]}
    for norm in norms:
        shapes |= {f"{norm}/gamma": (18,), f"{norm}/beta": (18,)}
    rng = np.random.default_rng(0)
    return {n: 0.3 * rng.normal(size=shape).astype("float32") for n, shape in shapes.items()}


def with_training_state(variables):
    """What BERT's own optimiser and TensorFlow's leave in a checkpoint of a training run."""
    slots = ("adam_m", "adam_v", "Adam", "Adam_1")
    state = {f"{n}/{slot}": v for n, v in variables.items() for slot in slots}
    return {**variables, **state, "global_step": np.int64(7), "beta1_power": np.float32(0.9)}


@pytest.fixture
def folder(tmp_path, odd):
    """Writes a release's folder with TensorFlow 1's saver."""

    def write(variables=None, **settings):
        release = odd.write_bert_config(tmp_path / "release", **settings)
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            for name, value in (variables or release_variables()).items():
                tf.compat.v1.get_variable(name, initializer=value, use_resource=False)
            session.run(tf.compat.v1.global_variables_initializer())
            tf.compat.v1.train.Saver().save(session, str(release / "bert_model.ckpt"))
        return release

    return write


@pytest.mark.parametrize("model", ["encoder", "pretrainer"])
def test_outputs_equal_those_of_the_official_converters_model(model, folder, tmp_path, odd):
    release = folder()
    config = configs.BertConfig.from_json_file(str(release / "bert_config.json"))
    converted = odd.write_bert_config(tmp_path / "converted")
    tf2_bert_encoder_checkpoint_converter.convert_checkpoint(
        config, str(converted / "ckpt"), str(release / "bert_model.ckpt"), "model", model
    )
    encoder = export_tfhub_lib.get_bert_encoder(config)
    items = {"model": encoder} if model == "encoder" else {"encoder": encoder}
    status = tf.train.Checkpoint(**items).restore(str(converted / "ckpt-1"))
    status.assert_existing_objects_matched()
    odd.assert_same(load_encoder(release), encoder)
    odd.assert_same(load_encoder(converted), encoder)


def test_heads_and_training_state_are_left_behind(folder, odd):
    expected = odd.outputs(load_encoder(folder()))
    trained = load_encoder(folder(with_training_state(release_variables())))
    for ours, theirs in zip(odd.outputs(trained), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_gelu_is_the_tanh_form(folder, odd):
    """As in google-research/bert's modeling.gelu."""
    config = load_encoder(folder()).get_config()
    assert config["inner_activation"] == "Text>gelu"
    assert (config["output_dropout"], config["attention_dropout"]) == (0.1, 0.2)


def test_missing_extra_and_misshaped_are_reported_together(folder):
    variables = release_variables(layers=3)
    del variables["bert/pooler/dense/bias"]
    variables["bert/embeddings/word_embeddings"] = np.zeros((50, 18), np.float32)
    with pytest.raises(ValueError, match="does not fit the model") as error:
        load_encoder(folder(variables))
    for part in (
        "missing: pooler/bias",
        "extra: bert/encoder/layer_2/attention/self/query/kernel",
        "shape of embeddings/word: [50, 18], not [53, 18]",
    ):
        assert part in str(error.value)


def test_a_missing_shard_is_named(folder):
    release = folder()
    (release / "bert_model.ckpt.data-00000-of-00001").unlink()
    with pytest.raises(FileNotFoundError, match=r"Missing: .*bert_model\.ckpt\.data-00000-of-000"):
        load_encoder(release)


def test_a_checkpoint_may_be_named_in_a_folder_of_several(folder, odd):
    release = folder()
    for file in release.glob("bert_model.ckpt.*"):
        (release / file.name.replace("bert_model", "other")).write_bytes(file.read_bytes())
    with pytest.raises(ValueError, match=r"more than one encoder: bert_model.ckpt \(Goo.*other"):
        load_encoder(release)
    other = load_encoder(release / "other.ckpt")
    odd.assert_same(other, load_encoder(release / "bert_model.ckpt.index"))
