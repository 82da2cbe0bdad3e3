import pytest
import tf_keras
from official.nlp.modeling import networks

from keras_adapters import AdapterConfig, freezing
from keras_adapters.model_garden import adapt, add_adapters
from keras_adapters.summary import ParameterCounts, adapter_summary, count_parameters


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


def test_an_encoder_that_is_not_in_the_model_is_not_counted(small_encoder):
    encoder, other = small_encoder(), small_encoder()
    model = tf_keras.Model(encoder.inputs, encoder(encoder.inputs)["pooled_output"])
    with pytest.raises(ValueError, match="`encoder` must be in `model`"):
        count_parameters(model, other)


def test_the_summary_is_a_table_of_stable_form(small_encoder):
    config = AdapterConfig(4, places=("feed_forward",), layers=(0, 2))
    assert (
        str(adapter_summary(adapt(small_encoder(), config)))
        == """\
encoder              BertEncoderV2
method               adapters: adapters and every LayerNorm, the embeddings' too
trains               layer norms
inserted             AdapterConfig(size=4, places=('feed_forward',), layers=(0, 2))
layer 0              attention -, feed_forward 148
layer 1              attention -, feed_forward -
layer 2              attention -, feed_forward 148
parameters inserted  296
parameters trained   520
parameters total     7,824"""
    )


def test_the_summary_of_a_plain_encoder_says_that_nothing_was_done(small_encoder):
    summary = adapter_summary(small_encoder())
    assert summary.method is None
    assert (summary.inserted, summary.trained, summary.total) == (0, 7528, 7528)
    assert str(summary).splitlines()[1] == "method               none"
