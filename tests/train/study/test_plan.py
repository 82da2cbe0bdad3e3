import pytest

from train.study.plan import Block, expand, plan


def names(block):
    return [name for name, _ in expand(block)]


def test_each_method_has_the_axes_that_go_with_it():
    block = Block(
        ("reuters_r8", "20_newsgroups"),
        ("adapters", "top_layers", "full"),
        {
            "adapter_sizes": ("8", "64"),
            "top_layers": ("1", "2", "3"),
            "learning_rates": ("0.001", "3e-05"),
            "train_sizes": ("all", "500"),
        },
        seeds=2,
    )
    runs = dict(expand(block, ("--max_seq_length=64",)))
    assert len(runs) == 2 * (2 + 3 + 1) * 2 * 2 * 2
    flags = runs["20_newsgroups-adapters-size8-lr3e-05-examples500-seed1"]
    assert flags == (
        "--task=20_newsgroups",
        "--method=adapters",
        "--adapter_size=8",
        "--learning_rate=3e-05",
        "--max_train_examples=500",
        "--seed=1",
        "--max_seq_length=64",
    )
    flags = runs["reuters_r8-top_layers-top3-lr0.001-examplesall-seed0"]
    assert flags[2:-2] == ("--top_layers=3", "--learning_rate=0.001")
    assert "reuters_r8-full-lr0.001-examplesall-seed0" in runs


def test_a_search_has_no_learning_rate():
    block = Block(("reuters_r8",), ("full", "no_bert"), {"learning_rates": ("0.1", "0.2")}, 2)
    assert names(block) == [
        "reuters_r8-full-lr0.1-seed0",
        "reuters_r8-full-lr0.1-seed1",
        "reuters_r8-full-lr0.2-seed0",
        "reuters_r8-full-lr0.2-seed1",
        "reuters_r8-no_bert-seed0",
        "reuters_r8-no_bert-seed1",
    ]


def test_further_flags_make_runs_and_names_of_their_own():
    flags = {"adapter_dtype": ("float32", "bfloat16"), "batch_size": ("16",)}
    assert names(Block(("reuters_r8",), flags=flags)) == [
        "reuters_r8-adapters-dtype_float32-batch_size_16-seed0",
        "reuters_r8-adapters-dtype_bfloat16-batch_size_16-seed0",
    ]


def test_names_hold_what_no_folder_can_be_called():
    flags = {"encoder": ("org/one", "org_one", "x" * 300)}
    found = names(Block(("reuters_r8",), flags=flags))
    assert found[1] == "reuters_r8-adapters-encoder_org_one-seed0"
    assert found[0].startswith(found[1] + "-")
    assert len(set(found)) == 3
    assert not any("/" in name or len(name) > 200 for name in found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": ()}, "--tasks must name at least one"),
        ({"methods": ("full", "full")}, "--methods must not repeat a value. Received: full,full"),
        ({"axes": {"epochs_grid": ("3", "3")}}, "--epochs_grid must not repeat"),
        ({"seeds": 0}, "--seeds must be at least 1. Received: 0"),
        (
            {"methods": ("full",), "axes": {"adapter_sizes": ("8",)}},
            "--adapter_sizes goes with --methods=adapters",
        ),
        ({"axes": {"top_layers": ("2",)}}, "--top_layers goes with --methods=top_layers"),
        ({"methods": ("top_layers",)}, "--methods=top_layers needs --top_layers"),
    ],
)
def test_contradictions_are_one_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        Block(**{"tasks": ("reuters_r8",), **arguments})


def test_what_two_blocks_share_is_planned_once():
    first = Block(("reuters_r8",), axes={"adapter_sizes": ("8", "64")}, seeds=2)
    second = Block(("reuters_r8",), axes={"adapter_sizes": ("64", "16")})
    runs = plan([first, second])
    assert [run.name.split("-")[2:] for run in runs] == [
        ["size8", "seed0"],
        ["size8", "seed1"],
        ["size64", "seed0"],
        ["size64", "seed1"],
        ["size16", "seed0"],
    ]
    assert [run.config.method.insertion.size for run in runs] == [8, 8, 64, 64, 16]
    # What a recipe leaves to its default is that run too.
    assert len(plan([first, Block(("reuters_r8",), seeds=2)])) == 4


@pytest.mark.parametrize(
    ("block", "common", "message"),
    [
        (Block(("reuters_r8",)), ("--batch_size=0",), "--batch_size must be a whole number"),
        (Block(("reuters_r8",)), ("--batch=0",), "Unknown command line flag 'batch'"),
        (Block(("csv",)), (), "--task=csv needs --train_file"),
        (
            Block(("reuters_r8",), ("top_layers",), {"top_layers": ("6", "7")}),
            (),
            "`top_layers` must be 1 to 6(.|\n)*the planned run reuters_r8-top_layers-top7-seed0",
        ),
        (
            Block(("rte",), flags={"train_file": ("a.csv",)}),
            (),
            "--task=csv needs --train_file, and only it takes one",
        ),
    ],
)
def test_a_run_that_would_fail_is_told_before_any_starts(block, common, message):
    with pytest.raises(ValueError, match=message):
        plan([block], common)


def test_an_encoder_that_is_not_there_is_told_before_any_starts():
    with pytest.raises(OSError, match=r"--encoder=gone: (.|\n)*run reuters_r8-full-seed0"):
        plan([Block(("reuters_r8",), ("full",))], ["--encoder=gone"])
