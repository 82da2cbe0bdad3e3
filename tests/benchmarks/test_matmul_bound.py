import pytest

from benchmarks.matmul_bound import bound


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_counts_operations_a_second(dtype):
    assert bound(dtype, (64, 64, 64), seconds=0.01) > 1e6


def test_sizes_must_be_positive():
    with pytest.raises(ValueError, match=r"`shape` must .* shape=\(64, 0, 64\)"):
        bound("float32", (64, 0, 64))
