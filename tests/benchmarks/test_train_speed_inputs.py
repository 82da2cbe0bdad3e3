import json

import numpy as np
import pytest

from benchmarks import train_speed_inputs as inputs
from keras_adapters.preprocessor import BertPreprocessor

SMALL = {
    "architectures": ["BertModel"],
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 8,
    "initializer_range": 0.02,
    "intermediate_size": 16,
    "max_position_embeddings": 16,
    "model_type": "bert",
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "type_vocab_size": 2,
}


def lengths(texts, files):
    prepare = BertPreprocessor(files.vocab_file, files.lower_case, 300)
    return prepare([texts])["input_mask"].numpy().sum(axis=1)


def test_texts_have_the_tokens_that_they_are_asked_for(minilm):
    assert set(lengths(inputs.full(128)(5, minilm.vocabulary), minilm)) == {128}
    spread = lengths(inputs.around(32, 256)(2000, minilm.vocabulary), minilm)
    assert spread.mean() == pytest.approx(32, rel=0.05)
    assert spread.std() > 10
    cut = lengths(inputs.around(32, 40)(500, minilm.vocabulary), minilm)
    assert cut.max() == 40
    assert cut.min() >= 3


def test_a_tasks_texts_are_its_own_and_come_again_where_there_are_few(minilm):
    make = inputs.of_task("book_excerpts")
    texts = make(10_000, minilm.vocabulary)
    assert len(texts) == 10_000
    assert 1 < len(set(texts)) < 10_000
    assert make(50, minilm.vocabulary) == texts[:50]


def test_a_random_bert_is_one_that_loads(tmp_path):
    from keras_adapters.converters.load import load_encoder
    from keras_adapters.variables import encoder_variables

    inputs.write_random_bert(tmp_path / "bert", SMALL)
    files = inputs.folder_of(str(tmp_path / "bert"), tmp_path)
    assert files.pooling == "pooler"
    named = encoder_variables(load_encoder(files.checkpoint))
    assert np.std(named["layer_1/output/kernel"]) == pytest.approx(0.02, rel=0.3)
    assert np.all(named["layer_1/output/layer_norm/gamma"] == 1)
    assert (tmp_path / "bert" / "tokenizer.json").exists()


def test_other_formats_are_refused(tmp_path, monkeypatch):
    class Files:
        class checkpoint:  # noqa: N801
            format = "tf1"

    monkeypatch.setattr(inputs, "find_encoder", lambda name: Files)
    with pytest.raises(ValueError, match=r"--encoders .* some, in the format tf1"):
        inputs.folder_of("some", tmp_path)


def test_texts_are_written_with_two_labels(tmp_path):
    inputs.write_texts(tmp_path / "new", ["one", "two", "drei ä"])
    lines = (tmp_path / "new" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["one", "two", "drei ä"]
    assert len({json.loads(line)["label"] for line in lines}) == 2
    assert (tmp_path / "new" / "dev.jsonl").exists()
