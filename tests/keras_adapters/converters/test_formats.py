import json
import subprocess
import sys

import pytest
import yaml

from keras_adapters.converters import configs, formats
from keras_adapters.converters.names import google_name, hugging_face_name

MODEL_GARDEN = {"task": {"model": {"encoder": {"type": "bert", "bert": {"num_layers": 3}}}}}
SHARD = "data-00000-of-00001"


def write(folder, *names, content=b""):
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def write_checkpoint(folder, prefix, *, object_graph):
    content = b"\0\x1c_CHECKPOINTABLE_OBJECT_GRAPH" if object_graph else b"\0\x05bert/"
    write(folder, f"{prefix}.index", content=content)
    write(folder, f"{prefix}.{SHARD}")


@pytest.fixture
def four(tmp_path):
    """A folder with a checkpoint of each format."""
    write(tmp_path, "model.safetensors", "saved_model.pb")
    write(tmp_path, "variables/variables.index", f"variables/variables.{SHARD}")
    write_checkpoint(tmp_path, "bert_model.ckpt", object_graph=False)
    write_checkpoint(tmp_path, "ckpt-7", object_graph=True)
    return tmp_path


WEIGHTS = {
    "hugging_face": "model.safetensors",
    "tf1": "bert_model.ckpt",
    "model_garden": "ckpt-7",
    "saved_model": "saved_model.pb",
}


FILES = {
    "hugging_face": ["model.safetensors"],
    "tf1": ["bert_model.ckpt.index", f"bert_model.ckpt.{SHARD}"],
    "model_garden": ["ckpt-7.index", f"ckpt-7.{SHARD}"],
    "saved_model": ["variables/variables.index", f"variables/variables.{SHARD}"],
}


@pytest.mark.parametrize(("kind", "weights"), WEIGHTS.items())
def test_each_format_is_told_apart(kind, weights, four):
    files = tuple(four / name for name in FILES[kind])
    expected = formats.EncoderCheckpoint(kind, four, four / weights, files)
    assert formats.recognise(four / weights) == expected
    for other in set(WEIGHTS.values()) - {weights}:
        for file in four.glob(f"{other}*"):
            file.unlink()
    assert formats.recognise(four) == expected


@pytest.mark.parametrize("name", ["ckpt-7.index", f"ckpt-7.{SHARD}"])
def test_a_checkpoint_may_be_named_by_any_of_its_files(name, four):
    assert formats.recognise(four / name).weights == four / "ckpt-7"


def test_a_prefix_is_not_another_prefixs_beginning(tmp_path):
    for prefix in ("ckpt-1", "ckpt-10"):
        write_checkpoint(tmp_path, prefix, object_graph=True)
    assert formats.recognise(tmp_path / "ckpt-1").weights.name == "ckpt-1"
    assert formats.recognise(tmp_path / "ckpt-10").weights.name == "ckpt-10"
    with pytest.raises(FileNotFoundError, match=r"ckpt: there is no such folder, file or checkp"):
        formats.recognise(tmp_path / "ckpt")


def test_a_folder_that_looks_like_several_formats(four):
    with pytest.raises(ValueError, match="holds more than one encoder") as error:
        formats.recognise(four)
    for part in (
        "model.safetensors (Hugging Face)",
        "bert_model.ckpt (Google's release)",
        "ckpt-7 (Model Garden)",
        "saved_model.pb (TensorFlow Hub or Kaggle)",
        "Name one of them",
    ):
        assert part in str(error.value)


def test_a_folder_with_none_says_what_makes_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no BERT encoder") as error:
        formats.recognise(tmp_path)
    for text in formats.FORMATS.values():
        assert text in str(error.value)
    write(tmp_path, "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"pytorch_model\.bin is not read. Convert it"):
        formats.recognise(tmp_path)


def test_missing_shards_are_all_named(tmp_path):
    write(tmp_path, "ckpt.index", "ckpt.data-00001-of-00003")
    with pytest.raises(FileNotFoundError, match="not whole") as error:
        formats.recognise(tmp_path)
    assert "ckpt.data-00000-of-00003" in str(error.value)
    assert "ckpt.data-00002-of-00003" in str(error.value)
    assert "ckpt.data-00001-of-00003" not in str(error.value)


def test_an_index_of_safetensors_without_a_weight_map(tmp_path):
    write(tmp_path, "model.safetensors.index.json", content=b"{}")
    with pytest.raises(ValueError, match=r"index\.json must have a `weight_map`"):
        formats.recognise(tmp_path)


def test_telling_apart_imports_no_tensorflow():
    script = (
        "import sys; from train.encoders import find; find.find_encoder(find.DEFAULT).checksum; "
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocab_size": "53"}, "`vocab_size` must be a whole number, 1 to .*Received: '53'"),
        (
            {"num_hidden_layers": 0},
            "`num_hidden_layers` must be a whole number, 1 to .*Received: 0",
        ),
        ({"hidden_dropout_prob": 1.5}, "`hidden_dropout_prob` must be in"),
        ({"num_attention_heads": 4}, "`hidden_size` must be a multiple of"),
        ({"hidden_act": "mish"}, "`hidden_act` must be one of gelu, relu.*'mish'"),
    ],
)
def test_a_bert_config_that_cannot_be(settings, message, tmp_path, odd):
    odd.write_bert_config(tmp_path, **settings)
    with pytest.raises(ValueError, match=rf"bert_config\.json: {message}"):
        configs.read_bert_config(tmp_path / "bert_config.json")


def test_a_bert_config_that_lacks_settings(tmp_path):
    (tmp_path / "bert_config.json").write_text(json.dumps({"vocab_size": 1}))
    with pytest.raises(ValueError, match="lacks hidden_size, num_hidden_layers, "):
        configs.read_bert_config(tmp_path / "bert_config.json")


def test_model_gardens_defaults_are_those_of_its_own_class(tmp_path):
    from official.nlp.configs.encoders import BertEncoderConfig

    (tmp_path / "params.yaml").write_text(yaml.safe_dump(MODEL_GARDEN))
    config = configs.read_model_garden_config(tmp_path)
    own = BertEncoderConfig()
    assert config["num_hidden_layers"] == 3
    assert own.hidden_activation == "gelu"
    assert config["hidden_act"] == "gelu_new"
    assert config["embedding_size"] == own.hidden_size
    for ours, theirs in {
        **{key: key for key in ("vocab_size", "hidden_size", "num_attention_heads")},
        **{key: key for key in ("intermediate_size", "max_position_embeddings")},
        "type_vocab_size": "type_vocab_size",
        "hidden_dropout_prob": "dropout_rate",
        "attention_probs_dropout_prob": "attention_dropout_rate",
    }.items():
        assert config[ours] == getattr(own, theirs)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "params.yaml is not YAML"),
        ("model: 1", "must hold one `encoder` with a `type`.*Found: 0"),
        ("a: {encoder: {type: bert}}\nb: [{encoder: {type: albert}}]", "Found: 2"),
        ("encoder: {type: albert}", "`type` must be bert. Received: 'albert'"),
        ("encoder: {type: bert, bert: {norm_first: true}}", "`norm_first` must be false.*True"),
        ("encoder: {type: bert, bert: {vocab_size: many}}", "`vocab_size` must be"),
    ],
)
def test_yaml_without_a_bert(content, message, tmp_path):
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(ValueError, match=message):
        configs.read_model_garden_config(tmp_path)


def test_no_configuration_of_model_garden(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"lacks bert_config\.json, or the experiment's"):
        configs.read_model_garden_config(tmp_path)


@pytest.mark.parametrize(
    ("ours", "google", "hugging_face"),
    [
        (
            "embeddings/type",
            "embeddings/token_type_embeddings",
            "embeddings.token_type_embeddings.weight",
        ),
        (
            "embeddings/layer_norm/beta",
            "embeddings/LayerNorm/beta",
            "embeddings.LayerNorm.bias",
        ),
        (
            "layer_11/attention/layer_norm/gamma",
            "encoder/layer_11/attention/output/LayerNorm/gamma",
            "encoder.layer.11.attention.output.LayerNorm.weight",
        ),
        ("pooler/kernel", "pooler/dense/kernel", "pooler.dense.weight"),
    ],
)
def test_names(ours, google, hugging_face):
    assert google_name(ours) == google
    assert hugging_face_name(ours) == hugging_face
