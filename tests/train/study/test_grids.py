import collections
import json
import pathlib

import pytest

from train.study.grids import GRIDS, read_grid, restrict
from train.study.plan import expand, plan


def runs_of(blocks):
    return [flags for block in blocks for _, flags in expand(block)]


def counts(blocks, *flags):
    """How many runs there are by the values of flags."""

    def value(run, flag):
        return next((f.partition("=")[2] for f in run if f.startswith(f"--{flag}=")), None)

    return collections.Counter(tuple(value(run, f) for f in flags) for run in runs_of(blocks))


def test_the_papers_glue_grid():
    grid = GRIDS["houlsby_glue"]
    assert len(runs_of(grid)) == 8 * 3 * 3 * 2 * 5
    assert set(counts(grid, "task").values()) == {90}
    assert counts(grid, "method", "seed") == {("adapters", str(seed)): 144 for seed in range(5)}


def test_the_papers_grid_of_additional_tasks():
    grid = GRIDS["houlsby_extra"]
    assert len(runs_of(grid)) == 17 * 12 * (6 + 8 + 1)
    of_tasks = counts(grid, "task")
    assert len(of_tasks) == 17
    assert set(of_tasks.values()) == {180}
    assert counts(grid, "method", "seed") == {
        ("adapters", "0"): 17 * 72,
        ("top_layers", "0"): 17 * 96,
        ("full", "0"): 17 * 12,
    }


def test_the_papers_squad_grid():
    grid = GRIDS["houlsby_squad"]
    assert counts(grid, "task", "method") == {("squad", "adapters"): 48, ("squad", "full"): 9}


def test_a_grid_of_some_tasks_and_other_seeds():
    grid = restrict(GRIDS["houlsby_glue"], ["rte", "cola"], 1)
    assert counts(grid, "task") == {("cola",): 18, ("rte",): 18}
    with pytest.raises(
        ValueError, match=r"--tasks must be of the grid's, which are cola, .*'wnli'"
    ):
        restrict(GRIDS["houlsby_glue"], ["rte", "wnli"])


def test_a_file_in_either_format(tmp_path):
    yaml = """
- tasks: reuters_r8
  adapter_sizes: [8, 64]
  learning_rates: [3e-4, 0.003]
  train_sizes: [all, 100]
  seeds: 2
  flags:
    adapter_dtype: [float32, bfloat16]
    rematerialize: true
- tasks: [reuters_r8, reuters_r52]
  methods: [full]
"""
    blocks = [
        {
            "tasks": ["reuters_r8"],
            "adapter_sizes": [8, 64],
            "learning_rates": [3e-4, 3e-3],
            "train_sizes": ["all", 100],
            "seeds": 2,
            "flags": {"adapter_dtype": ["float32", "bfloat16"], "rematerialize": True},
        },
        {"tasks": ["reuters_r8", "reuters_r52"], "methods": "full"},
    ]
    (tmp_path / "grid.yaml").write_text(yaml)
    (tmp_path / "grid.json").write_text(json.dumps(blocks))
    grid = read_grid(str(tmp_path / "grid.yaml"))
    assert grid == read_grid(str(tmp_path / "grid.json"))
    assert len(plan(grid)) == 2**5 + 2
    assert grid[0].axes["learning_rates"] == ("0.0003", "0.003")
    assert runs_of(grid)[0][-3:] == ("--adapter_dtype=float32", "--rematerialize=true", "--seed=0")


def test_the_example():
    grid = read_grid(str(pathlib.Path(__file__).parents[3] / "examples" / "sweep.yaml"))
    assert [len(runs_of([block])) for block in grid] == [60, 12, 4, 6, 6]
    assert len(plan(grid)) == 60 + 12 + 4 + 6 + 6 - 2  # In common: seed 0, and the default form.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "is malformed: "),
        ("{}", "must hold a list of blocks"),
        ("[]", "must hold a list of blocks"),
        ("- reuters_r8", "block 1: a block is an object"),
        ("- {seeds: 2}", "block 1: it must name `tasks`"),
        ("- {tasks: []}", "block 1: --tasks must name at least one"),
        ("- {tasks: mnist}", "block 1: --tasks: flag --task=mnist: value should be one of"),
        ("- {tasks: csv}\n- {task: csv}", "block 2: there is no key 'task'; the keys are tasks"),
        ("- {tasks: csv, seeds: yes}", "`seeds` must be how many there are. Received: True"),
        ("- {tasks: csv, epochs_grid: [x]}", "--epochs_grid: flag --epochs=x: invalid literal"),
        ("- {tasks: csv, epochs_grid: [3, 3]}", "--epochs_grid must not repeat a value"),
        ("- {tasks: csv, epochs_grid: [null]}", "takes one value. Received: None"),
        ("- {tasks: csv, flags: [a]}", "`flags` must be an object"),
        ("- {tasks: csv, flags: {seed: 1}}", "`seed` cannot stand below `flags`: name it with"),
        ("- {tasks: csv, flags: {output_dir: x}}", "each run has a folder of its own"),
        ("- {tasks: csv, flags: {batch: 1}}", "--batch is not a flag of train.run"),
        ("- {tasks: csv, flags: {precisio: x}}", "Did you mean: precision"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_error(tmp_path, text, message):
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="--grid=") as error:
        read_grid(str(path))
    assert message in str(error.value)


def test_a_file_that_is_not_there_or_of_another_kind():
    with pytest.raises(OSError, match=r"--grid=gone\.yaml cannot be read: No such file"):
        read_grid("gone.yaml")
    with pytest.raises(ValueError, match="--grid must be one of houlsby_glue, "):
        read_grid("houlsby")
