"""Whole runs of the command, in processes where TensorFlow cannot be imported."""

import json
import os
import shutil
import sys
import time

import numpy as np
import pytest
from skops import io

# The keys of every run's results.
KEYS = {
    *("task", "method", "adapter_size", "encoder", "seed", "parameters", "metrics", "examples"),
    *("adapter_bytes", "examples_per_second", "peak_memory_bytes", "seconds", "machine"),
    "versions",
}
TRIALS = 6


@pytest.fixture(scope="module")
def folder(write_tiny_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("no_bert")
    for name, count in {"train": 60, "dev": 30, "test": 30}.items():
        write_tiny_data(folder / f"{name}.csv", count, seed=count + len(name))
    random = np.random.default_rng(0)
    glue = folder / "glue" / "STS-B"
    glue.mkdir(parents=True)
    columns = ("index", "genre", "filename", "year", "old_index", "source1", "source2")
    header = "\t".join([*columns, "sentence1", "sentence2", "score"])
    for split, count in {"train": 60, "dev": 20}.items():
        lines = [header]
        for index in range(count):
            words = random.choice([f"w{number}" for number in range(30)], 5, replace=False)
            same = int(random.integers(0, 6))
            second = [*words[:same], *(f"v{number}" for number in range(5 - same))]
            texts = f"{' '.join(words)}\t{' '.join(second)}\t{same}.0"
            lines.append(f"{index}\tg\tf\ty\t{index}\ts\ts\t{texts}")
        (glue / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    traps = folder / "traps"
    traps.mkdir()
    for module in ("tensorflow", "tf_keras", "keras"):
        (traps / f"{module}.py").write_text("raise SystemExit('TensorFlow was imported')\n")
    return folder


@pytest.fixture(scope="module")
def search(folder, run_command):
    def run(output, *flags, wait=True, task="csv"):
        files = [f"--{name}_file={name}.csv" for name in ("train", "dev", "test")]
        if task != "csv":
            files = ["--data_dir=glue"]
        return run_command(
            *("-m", "train.run", f"--task={task}", *files, "--method=no_bert"),
            *(f"--output_dir={output}", f"--search_trials={TRIALS}", *flags),
            cwd=folder,
            environment={"PYTHONPATH": os.pathsep.join([str(folder / "traps"), *sys.path])},
            wait=wait,
        )

    return run


@pytest.fixture(scope="module")
def finished(folder, search):
    done = search("finished", "--max_train_examples=50")
    assert done.returncode == 0, done.err
    return folder / "finished", done.out


def read(path):
    return json.loads(path.read_text())


def tried(folder):
    return [(each["settings"], each["score"]) for each in read(folder / "trials.json")["trials"]]


def test_leaves_results_of_the_same_form_as_other_methods(finished):
    folder, _ = finished
    names = {path.name for path in folder.iterdir()}
    assert names == {".lock", "config.json", "model", "results.json", "trials.json"}
    results = read(folder / "results.json")
    assert set(results) == KEYS | {"search"}
    assert (results["task"], results["method"]) == ("csv", "no_bert")
    assert (results["adapter_size"], results["encoder"]) == (None, None)
    parameters = results["parameters"]
    assert parameters["total"] == parameters["trained"] > 0
    assert parameters["trained_percent"] == 100
    assert results["examples"] == {"train": 50, "dev": 30, "test": 30}
    assert results["adapter_bytes"] == sum(
        path.stat().st_size for path in (folder / "model").iterdir()
    )
    assert results["search"]["trials"] == TRIALS
    best = max(score for _, score in tried(folder) if score is not None)
    assert results["metrics"]["dev"]["accuracy"] == best
    assert results["metrics"]["test"]["accuracy"] > 0.7
    config = read(folder / "config.json")
    assert (config["method"], config["search"]) == (None, {"trials": TRIALS, "seconds": None})


def test_summary_says_what_a_person_wants_to_know(finished):
    folder, output = finished
    results = read(folder / "results.json")
    for part in (
        "csv, method no_bert, seed 0",
        f"accuracy {100 * results['metrics']['test']['accuracy']:.2f}",
        f"{results['parameters']['trained']:,} of",
        "finished/model",
    ):
        assert part in output
    for part in ("adapter  ", "logs", "examples/s"):
        assert part not in output.partition("seed 0")[2]


def test_the_model_on_disk_is_the_one_that_was_scored(finished, folder):
    path = finished[0] / "model" / "model.skops"
    model = io.load(path, trusted=io.get_untrusted_types(file=path))
    rows = [line.split(",") for line in (folder / "test.csv").read_text().splitlines()[1:]]
    predicted = model.predict([text for text, _ in rows])
    accuracy = np.mean(predicted == [label for _, label in rows])
    assert accuracy == read(finished[0] / "results.json")["metrics"]["test"]["accuracy"]
    told = read(finished[0] / "model" / "model.json")
    assert (told["task"], told["labels"], told["columns"]) == ("csv", ["0", "1"], 1)


def test_a_killed_search_ends_as_one_that_was_not(folder, search, finished):
    process = search("killed", "--max_train_examples=50", wait=False)
    trials = folder / "killed" / "trials.json"
    while process.poll() is None and not (trials.exists() and len(tried(trials.parent)) >= 2):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert len(tried(trials.parent)) >= 2
    assert not (folder / "killed" / "results.json").exists()
    done = search("killed", "--max_train_examples=50")
    assert done.returncode == 0, done.err
    assert "Going on after" in done.out
    assert tried(folder / "killed") == tried(finished[0])
    ours, theirs = (read(folder / name / "results.json") for name in ("killed", "finished"))
    for name in ("metrics", "parameters", "examples", "adapter_bytes"):
        assert ours[name] == theirs[name]
    assert ours["search"]["best"] == theirs["search"]["best"]


def test_a_finished_search_is_not_searched_again_but_makes_its_model_anew(folder, search, finished):
    path = shutil.copytree(finished[0], folder / "lost")
    before = (path / "results.json").read_bytes(), (path / "trials.json").read_bytes()
    written = (path / "model" / "model.json").read_text()
    shutil.rmtree(path / "model")
    done = search("lost", "--max_train_examples=50")
    assert done.returncode == 0, done.err
    assert "making what it lacks: model" in done.out
    assert ((path / "results.json").read_bytes(), (path / "trials.json").read_bytes()) == before
    assert (path / "model" / "model.json").read_text() == written
    shutil.rmtree(path / "model")
    (path / "trials.json").unlink()
    gone = search("lost", "--max_train_examples=50")
    assert gone.returncode == 1
    assert "its trials are gone" in gone.err
    other = search("lost")
    assert other.returncode == 1
    assert "max_train_examples: 50 there, None now" in other.err


def test_values_of_pairs_are_searched_too(folder, search):
    done = search("pairs", "--search_trials=2", "--noexport", task="stsb")
    assert done.returncode == 0, done.err
    results = read(folder / "pairs" / "results.json")
    assert set(results["metrics"]["dev"]) == {"spearman", "pearson"}
    assert results["metrics"]["dev"]["spearman"] > 0.5
    assert results["adapter_bytes"] == 0
    assert not (folder / "pairs" / "model").exists()


def test_damaged_trials_are_one_error(folder, search, finished):
    path = shutil.copytree(finished[0], folder / "damaged")
    (path / "results.json").unlink()
    (path / "trials.json").write_text("{")
    done = search("damaged", "--max_train_examples=50")
    assert done.returncode == 1
    assert done.err.splitlines()[-1].startswith("error: damaged/trials.json does not hold the")
    assert "Traceback" not in done.err
