import numpy as np
import pytest
import tensorflow as tf
from official.nlp.modeling import networks

from train.objectives.trimming import served_length, trim, trims


@pytest.mark.parametrize("longest", [5, 128, 200, 512])
def test_lengths_hold_the_tokens_and_are_few(longest):
    lengths = [served_length(tokens, longest) for tokens in range(longest + 1)]
    assert all(length >= tokens for tokens, length in enumerate(lengths))
    assert lengths == sorted(lengths)
    assert lengths[-1] == longest
    assert 0 < lengths[0] <= 8
    assert len(set(lengths)) <= 20


@pytest.mark.parametrize(
    ("sizes", "length"), [([3, 0], 8), ([9, 40, 1], 40), ([100], 100), ([], 8)]
)
def test_what_is_left_out_is_padding_in_all_rows(sizes, length):
    mask = tf.sequence_mask(sizes, 100, tf.int32)
    ids = mask * tf.range(1, 101)
    trimmed = trim({"input_word_ids": ids, "input_mask": mask})
    assert trimmed["input_mask"].shape == (len(sizes), length)
    np.testing.assert_array_equal(trimmed["input_word_ids"], ids[:, :length])
    assert tf.reduce_sum(trimmed["input_mask"]) == sum(sizes)


def test_an_encoder_without_a_mask_is_not_trimmed(small_encoder):
    assert trims(small_encoder())
    fnet = networks.FNet(
        vocab_size=50, hidden_size=16, num_layers=2, num_attention_heads=2, inner_dim=24
    )
    assert not trims(fnet)
