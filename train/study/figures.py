"""The figures of a report, and the commands that would give those that cannot be drawn."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping

from train.study.curves import by_task, examples, initial_values, relative
from train.study.drawing import Figure
from train.study.evidence import Evidence
from train.study.heatmap import heatmap, read_ablation
from train.study.runs import Run


@dataclasses.dataclass(frozen=True)
class Missing:
    """A figure that the runs do not give.

    Args:
      title: what it would show.
      command: what would give it.
    """

    title: str
    command: str


@dataclasses.dataclass(frozen=True)
class Drawn:
    """All figures.

    Args:
      figures: those that could be drawn.
      missing: those that could not.
      left_out: a sentence for each file that could not be used.
    """

    figures: tuple[Figure, ...]
    missing: tuple[Missing, ...]
    left_out: tuple[str, ...]


def figures(evidence: Evidence) -> Drawn:
    """Draws what there are runs for."""
    conditions = evidence.conditions
    heatmaps, left_out = _heatmaps(evidence)
    kinds: Mapping[str, list[Figure]] = {
        "relative": [found for c in conditions if (found := relative(c))],
        "parameters": [figure for c in conditions for figure in by_task(c)],
        "squad": [],
        "ablation": heatmaps,
        "init": [figure for c in conditions for figure in initial_values(c)],
        "examples": examples(conditions),
    }
    drawn = tuple(figure for found in kinds.values() for figure in found)
    if any(figure.name.startswith("parameters-squad") for figure in drawn):
        del kinds["squad"]
    # A run with adapters, if there is one, for those can be removed.
    example = next((run for run in evidence.runs if run.insertion), evidence.runs[0])
    missing = (_missing(kind, example) for kind, found in kinds.items() if not found)
    return Drawn(drawn, tuple(missing), tuple(left_out))


def _heatmaps(evidence: Evidence) -> tuple[list[Figure], list[str]]:
    drawn: list[Figure] = []
    left_out: list[str] = []
    task_of = evidence.task_names()
    for run in evidence.runs:
        try:
            found = read_ablation(run)
        except (OSError, ValueError) as error:
            left_out.append(str(error))
            continue
        if found:
            drawn.append(heatmap(run, task_of(run), found, f"ablation-{len(drawn) + 1}"))
    return drawn, left_out


def _missing(kind: str, run: Run) -> Missing:
    """Says what would give a figure: of `run`'s task, where the figure is of any."""
    files = run.config["files"]
    places = {name: files.get(name) for name in ("data_dir", "train_file")}
    words = [*shlex.split("python -m train.sweep"), f"--tasks={run.task}"]
    words += [f"--{name}={value}" for name, value in places.items() if value]
    sweep = shlex.join(words)
    return {
        "relative": Missing(
            "Figures 1 and 3 of the paper: scores relative to full fine-tuning, by parameters",
            f"{sweep} --methods=adapters,top_layers,full --adapter_sizes=2,8,64,256 "
            "--top_layers=1,2,3 --output_dir=sweeps/relative",
        ),
        "parameters": Missing(
            "Figure 4 of the paper: scores by trained parameters",
            f"{sweep} --methods=adapters,layer_norm --adapter_sizes=2,8,64,256 "
            "--output_dir=sweeps/sizes",
        ),
        "squad": Missing(
            "Figure 5 of the paper: F1 on SQuAD by trained parameters",
            "python -m train.sweep --grid=houlsby_squad --data_dir=DIR --output_dir=sweeps/squad",
        ),
        "ablation": Missing(
            "Figure 6, left, of the paper: adapters of a span of layers removed",
            f"python -m train.ablate --run={shlex.quote(str(run.path))}",
        ),
        "init": Missing(
            "Figure 6, right, of the paper: scores by the spread of initial kernels",
            f"{sweep} --init_stddevs=1e-5,1e-4,1e-3,1e-2,1e-1 --output_dir=sweeps/init",
        ),
        "examples": Missing(
            "Scores by the number of training examples",
            f"{sweep} --methods=adapters,full --train_sizes=100,300,1000,all "
            "--output_dir=sweeps/examples",
        ),
    }[kind]
