from train.study.evidence import gather
from train.study.listings import all_runs, selected
from train.study.runs import command


def rows_of(table):
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_what_was_chosen_and_of_what(evidence):
    rows = rows_of(selected(evidence))
    (row,) = [row for row in rows if (row["task"], row["method"]) == ("mrpc", "adapters 8")]
    assert (row["settings tried"], row["runs"]) == (2, 6)
    assert row["tried"] == "learning_rate: 0.0003, 0.003"
    assert row["learning rate"] == 3e-3
    assert row["dev"].count == 3
    names = [(row["encoder"], row["task"]) for row in rows]
    assert names == sorted(names)


def test_every_run_with_its_command(evidence):
    table = all_runs(evidence)
    rows = rows_of(table)
    assert [row["folder"] for row in rows] == [str(run.path) for run in evidence.runs]
    for row, run in zip(rows, evidence.runs, strict=True):
        assert row[table.commands].split() == ["python", "-m", "train.run", *command(run)]
        assert row["dev"] == 100 * run.score("dev")
    assert rows[0]["seconds"] == 60.0
    assert (rows[0]["memory, GB"], rows[0]["machine"]) == (1.0, "tensorflow 2.20.0")


def test_a_machines_facts_are_told(tmp_path, write_run):
    facts = {"machine": {"processor": "x86_64", "cores": 2}}
    write_run(tmp_path / "a", results=facts | {"examples_per_second": None})
    (row,) = rows_of(all_runs(gather([tmp_path])))
    assert row["machine"] == "processor x86_64, cores 2, tensorflow 2.20.0"
    assert row["examples/s"] is None
