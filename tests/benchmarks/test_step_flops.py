import pytest

from benchmarks.step_flops import step_flops

HIDDEN, INNER, SIZE = 6, 20, 2
CONFIG = {"hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": 3}


def products(length, rows, first_trains):
    """Yields a block's products as (sizes, whether each factor needs a gradient)."""
    yield (length, HIDDEN, 2 * HIDDEN), first_trains, False  # Keys and values.
    yield (rows, HIDDEN, HIDDEN), first_trains, False  # Queries.
    yield (rows, HIDDEN, length), first_trains, first_trains  # Scores, of all heads.
    yield (rows, length, HIDDEN), first_trains, first_trains
    yield (rows, HIDDEN, HIDDEN), first_trains, False
    yield (rows, HIDDEN, SIZE), first_trains, True
    yield (rows, SIZE, HIDDEN), True, True
    yield (rows, HIDDEN, INNER), True, False
    yield (rows, INNER, HIDDEN), True, False
    yield (rows, HIDDEN, SIZE), True, True
    yield (rows, SIZE, HIDDEN), True, True


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("norms_train", [True, False])
@pytest.mark.parametrize("first_only", [True, False])
def test_counts_each_product_and_its_gradients(blocks, norms_train, first_only):
    lengths, expected = [3, 7, 7], 0
    for length in lengths:
        for block in range(blocks):
            rows = 1 if first_only and block == blocks - 1 else length
            for (m, k, n), *needed in products(length, rows, norms_train or block > 0):
                expected += 2 * m * k * n * (1 + sum(needed))
    config = {**CONFIG, "num_hidden_layers": blocks}
    assert step_flops(config, lengths, SIZE, norms_train, first_only) == expected
