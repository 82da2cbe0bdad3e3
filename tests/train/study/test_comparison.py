import math
import statistics

import pytest

from train.study.comparison import compare, differences


def test_differences_are_at_the_seeds_of_both():
    assert differences({2: 5.0, 0: 3.0, 1: 9.0}, {0: 1.0, 2: 1.0, 7: 0.0}) == [2.0, 4.0]


def test_both_tests_by_hand():
    pairs = [1.0, 2.0, 3.0, 2.5, -0.5]
    found = compare(pairs)
    t = found.difference.mean / (found.difference.deviation / math.sqrt(5))
    assert found.difference.mean == pytest.approx(1.6)
    assert found.difference.deviation == pytest.approx(statistics.stdev(pairs))
    # Of t with 4 degrees of freedom, whose distribution has a closed form.
    x = t / math.sqrt(4 + t * t)
    one_sided = 0.5 - 0.75 * (x - x**3 / 3)
    assert found.t_test == pytest.approx(2 * one_sided)
    # Of the 32 choices of signs two reach as far, and their negatives.
    assert found.sign_flips == pytest.approx(4 / 32)


@pytest.mark.parametrize("pairs", [[1.0], [1.0, 2.0], [0.0, 0.0, 0.0], [2.0, 2.0, 2.0]])
def test_no_test_of_too_few_or_equal_pairs(pairs):
    found = compare(pairs)
    assert found.difference.count == len(pairs)
    assert (found.t_test, found.sign_flips) == (None, None)


def test_no_pairs_are_no_comparison():
    assert compare([]) is None


def test_many_pairs_give_the_same_p_again():
    pairs = [0.1 * (number % 7) - 0.2 for number in range(40)]
    first, second = compare(pairs), compare(pairs)
    assert first == second
    assert 0 < first.sign_flips < 1
