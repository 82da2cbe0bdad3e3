import xml.etree.ElementTree

from train.study.evidence import gather
from train.study.figures import figures

PNG = b"\x89PNG\r\n\x1a\n"


def test_what_there_are_runs_for_is_drawn(drawn):
    assert [figure.name for figure in drawn.figures] == [
        "relative-minilm_l6-all",
        "parameters-mrpc-minilm_l6-all",
        "parameters-reuters_r8-minilm_l6-all",
        "ablation-1",
        "init-reuters_r8-minilm_l6-all",
        "examples-reuters_r8-minilm_l6",
    ]
    for figure in drawn.figures:
        assert figure.png.startswith(PNG)
        assert xml.etree.ElementTree.fromstring(figure.svg).tag.endswith("svg")
        assert figure.title in figure.alt
        assert figure.caption.endswith(".")


def test_what_is_missing_is_said_with_a_command(drawn):
    (missing,) = drawn.missing
    assert missing.title == "Figure 5 of the paper: F1 on SQuAD by trained parameters"
    assert missing.command.startswith("python -m train.sweep --grid=houlsby_squad")


def test_one_run_gives_no_figure_but_all_commands(tmp_path, write_run):
    write_run(tmp_path / "a run", "csv", train_file="my data.csv")
    drawn = figures(gather([tmp_path]))
    assert not drawn.figures
    commands = [missing.command for missing in drawn.missing]
    assert len(commands) == 6
    files = "python -m train.sweep --tasks=csv '--train_file=my data.csv' --"
    assert sum(command.startswith(files) for command in commands) == 4
    assert f"python -m train.ablate --run='{tmp_path}/a run'" in commands


def test_squad_is_figure_5(tmp_path, write_run):
    for size in (2, 8):
        write_run(tmp_path / str(size), "squad", data_dir="x", adapter_size=size)
    drawn = figures(gather([tmp_path]))
    (figure,) = drawn.figures
    assert figure.caption.startswith("Figure 5 of the paper: of one seed each.")
    assert "F1 on SQuAD" not in "".join(missing.title for missing in drawn.missing)


def test_the_same_runs_give_the_same_bytes(tmp_path, write_run):
    for size in (2, 8):
        write_run(tmp_path / str(size), adapter_size=size)
    assert figures(gather([tmp_path])) == figures(gather([tmp_path]))
