import pytest

from benchmarks.train_speed_report import bound_shares, plot, speed_ratio, table

CASE = {
    "case": "fixed",
    "encoder": "bert_base",
    "precision": "float32",
    "length": None,
    "mean_tokens": 100,
    "flops_per_text": 1e9,
    "product_flops_per_second": [1e11, 2e11],
    "pairs": [
        {
            "ours": {
                "examples_per_second": speed,
                "useful_token_share": None,
                "peak_memory_bytes": 2e9,
                "seconds": 60,
                "seconds_to_first_step": None,
            },
            "theirs": {
                "examples_per_second": 10,
                "useful_token_share": 0.5,
                "peak_memory_bytes": 3e9,
                "seconds": 90,
                "seconds_to_first_step": 5,
            },
        }
        for speed in (20, 40)
    ],
}


def test_ratios_and_shares_are_of_pairs():
    assert f"{speed_ratio(CASE):.1f}" == "3.0 (2.0 to 4.0)"
    assert bound_shares(CASE) == [0.2, 0.2]


def test_the_table_shows_medians_and_what_is_not_known():
    head, _, row = (line.strip("| ").split(" | ") for line in table([CASE]))
    assert len(head) == len(row)
    assert row == [
        "fixed", "bert_base", "float32", "30.0", "10.0", "3.00 (2.00 to 4.00)", "3000", "1000",
        "-", "50.0%", "2.00", "3.00", "60.0", "90.0", "-", "5.0", "20%",
    ]  # fmt: skip


def test_a_plot_is_of_lengths(tmp_path):
    with pytest.raises(ValueError, match="--lengths, and none"):
        plot({"cases": [CASE]}, str(tmp_path / "x.svg"))
