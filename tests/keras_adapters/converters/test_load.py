import json

import numpy as np
import pytest
import tensorflow as tf

from keras_adapters.converters.load import load_encoder
from keras_adapters.original import base_of


def test_the_loader_is_chosen_by_the_format(minilm, tmp_path, odd):
    assert len(load_encoder(minilm.checkpoint).transformer_layers) == 6
    encoder = odd.encoder()
    tf.train.Checkpoint(encoder=encoder).write(str(tmp_path / "ckpt"))
    odd.write_bert_config(tmp_path)
    odd.assert_same(load_encoder(tmp_path), encoder)
    (tmp_path / "model.safetensors").touch()
    odd.assert_same(load_encoder(tmp_path / "ckpt"), encoder)
    pooled = load_encoder(tmp_path / "ckpt", output_range=1)
    hidden, expected = odd.outputs(encoder)
    result = pooled({name: tf.ones((1, 4), tf.int32) for name in pooled.inputs})
    assert result["sequence_output"].shape == (1, 1, hidden.shape[-1])
    assert np.shape(result["pooled_output"]) == (1, expected.shape[-1])


def truncated_safetensors(folder, odd):
    settings = {**odd.config, "model_type": "bert"}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "model.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{")


def truncated_checkpoint(folder, odd):
    tf.train.Checkpoint(encoder=odd.encoder()).write(str(folder / "ckpt"))
    shard = folder / "ckpt.data-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:100])


def empty_index(folder, odd):
    for name in ("bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"):
        (folder / name).touch()


@pytest.mark.parametrize("damage", [truncated_safetensors, truncated_checkpoint, empty_index])
def test_damaged_weights_are_one_error(damage, tmp_path, odd):
    odd.write_bert_config(tmp_path)
    damage(tmp_path, odd)
    with pytest.raises(ValueError, match="is damaged, a file may be cut short"):
        load_encoder(tmp_path)


def test_every_format_brings_the_same_base(tiny, odd, tmp_path):
    """Where it computes the same: Hugging Face's gelu is by erf, the others' by tanh."""
    config = {**odd.config, "hidden_act": "gelu_new"}
    values = tiny.values("hugging_face")
    folders = {**tiny.folders, "hugging_face": tmp_path / "hf"}
    tiny.write("hugging_face", folders["hugging_face"], values, config)
    first, *others = (base_of(load_encoder(folder)) for folder in folders.values())
    assert len(others) == 3
    for other in others:
        assert first.differences(other) == []
        assert first.fingerprint == other.fingerprint
    by_erf = base_of(load_encoder(tiny.folders["hugging_face"]))
    assert by_erf.differences(first) == ["activation: 'gelu', not 'gelu_tanh'"]
