import numpy as np
import pytest

from train.fit.packing import Packing, lay_out, round_up


@pytest.fixture
def lengths():
    return np.random.default_rng(0).integers(1, 41, 96).astype(np.int32)


def order_of(batches, texts):
    return np.random.default_rng(1).permutation(batches * texts).reshape(batches, texts)


def places(layout, lengths, batch, text):
    """Returns where all tokens of a text stand in the rows of its part, flattened."""
    rest = layout.rest[batch, text] + np.arange(lengths - 1)
    return np.concatenate([[layout.first[batch, text]], rest])


@pytest.mark.parametrize("parts", [1, 2, 4])
@pytest.mark.parametrize(("length", "per_row"), [(None, 16), (64, 3), (48, 1)])
def test_each_token_has_a_place_of_its_own_in_one_row(parts, length, per_row, lengths):
    order = order_of(8, 12)
    packing = Packing(per_row, length)
    layout = lay_out(lengths, order, packing, parts)
    assert layout.length == (length or 48)  # 40, rounded up.
    for batch, texts in enumerate(order):
        for part in np.split(np.arange(12), parts):
            taken = [places(layout, lengths[texts[text]], batch, text) for text in part]
            rows = [set(places // layout.length) for places in taken]
            assert all(len(own) == 1 for own in rows)
            together = np.concatenate(taken)
            assert len(set(together)) == len(together)
            assert together.max() < layout.rows[batch] * layout.length
            counts = np.bincount([own.pop() for own in rows])
            assert counts.max() <= per_row


def test_first_tokens_stand_in_front_and_nothing_lies_between(lengths):
    order = order_of(8, 12)
    layout = lay_out(lengths, order, Packing(16))
    for batch, texts in enumerate(order):
        rows = layout.first[batch] // layout.length
        for row in set(rows):
            inside = np.flatnonzero(rows == row)
            firsts = layout.first[batch, inside] % layout.length
            assert sorted(firsts) == list(range(len(inside)))
            everything = [places(layout, lengths[texts[i]], batch, i) for i in inside]
            used = np.sort(np.concatenate(everything)) % layout.length
            assert used.tolist() == list(range(len(used)))


def test_packs_what_the_longest_first_packs():
    lengths = np.array([6, 4, 10, 3, 7])
    layout = lay_out(lengths, np.arange(5).reshape(1, 5), Packing(16, length=10))
    # 10; 7 and 3; 6 and 4.
    assert (layout.first // 10).tolist() == [[2, 2, 0, 1, 1]]
    assert layout.rows.tolist() == [3]


def test_all_batches_take_one_number_of_rows_or_a_few(lengths):
    order = order_of(24, 4)
    exact = lay_out(lengths, order, Packing(16, row_counts=99)).rows
    few = lay_out(lengths, order, Packing(16, row_counts=2)).rows
    one = lay_out(lengths, order, Packing(16)).rows
    assert len(set(exact)) > 2
    assert len(set(few)) == 2
    assert set(one) == {exact.max()}
    assert np.all(exact <= few)
    assert np.all(few <= one)


@pytest.mark.parametrize(
    ("rows", "counts", "expected"),
    [
        ([3, 3, 3, 5, 9], 1, [9, 9, 9, 9, 9]),
        ([3, 3, 3, 5, 9], 2, [3, 3, 3, 9, 9]),
        ([3, 4, 8, 8, 8, 9], 2, [4, 4, 9, 9, 9, 9]),
        ([3, 5, 9], 3, [3, 5, 9]),
        ([7, 7], 4, [7, 7]),
    ],
)
def test_rows_are_rounded_up_to_those_that_add_least(rows, counts, expected):
    assert round_up(np.array(rows), counts).tolist() == expected


def test_very_many_numbers_of_rows_are_rounded_up_too():
    rows = np.arange(1, 400)
    few = round_up(rows, 4)
    assert len(set(few)) == 4
    assert np.all(few >= rows)
    assert few.sum() < 1.3 * rows.sum()


def test_some_batches_of_a_layout(lengths):
    layout = lay_out(lengths, order_of(8, 12), Packing(16), parts=2)
    rest = layout[3:]
    assert np.array_equal(rest.first, layout.first[3:])
    assert np.array_equal(rest.rest, layout.rest[3:])
    assert np.array_equal(rest.rows, layout.rows[3:])
    assert (rest.length, rest.parts) == (layout.length, 2)
