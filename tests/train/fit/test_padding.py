import numpy as np
import pytest
import tensorflow as tf

from train.fit.padding import trim


@pytest.mark.parametrize(("longest", "expected"), [(1, 16), (16, 16), (17, 32), (40, 40)])
def test_cuts_to_the_longest_row_rounded_up(longest, expected):
    mask = np.zeros([3, 40], np.int32)
    mask[1, :longest] = 1
    inputs = {"input_mask": tf.constant(mask), "input_word_ids": tf.constant(mask * 7)}
    trimmed = trim(inputs)
    assert {tuple(x.shape) for x in trimmed.values()} == {(3, expected)}
    assert int(tf.reduce_sum(trimmed["input_word_ids"])) == 7 * longest
