import json

import pytest

from train.baselines.search import Trials, search
from train.config_parts import SearchConfig

VERSION = 1


def suggest(trial):
    settings = {"kind": trial.suggest_categorical("kind", ("line", "hill"))}
    name = settings["kind"]
    settings[f"{name}_x"] = trial.suggest_float(f"{name}_x", -4, 4)
    settings["size"] = trial.suggest_int("size", 1, 100, log=True)
    return settings


def score(settings):
    if settings["kind"] == "line":
        return settings["line_x"] / 10
    return 1 - abs(settings["hill_x"] - 1) - settings["size"] / 1000


def run(path, count, seed=0, evaluate=score, version=VERSION):
    return search(Trials(path, version), SearchConfig(count), seed, suggest, evaluate)


def tried(path):
    return [trial["settings"] for trial in json.loads(path.read_text())["trials"]]


def test_the_best_is_found_and_every_trial_kept(tmp_path):
    path = tmp_path / "run" / "trials.json"
    best = run(path, 30)
    assert best.settings["kind"] == "hill"
    assert best.score == score(best.settings) == max(map(score, tried(path)))
    assert best.score > 0.5
    assert len(tried(path)) == 30


def test_it_goes_on_after_a_kill_as_if_there_had_been_none(tmp_path):
    whole = run(tmp_path / "whole.json", 20)

    class KilledError(BaseException):
        pass

    def killed(settings):
        calls.append(1)
        if len(calls) == 14:
            raise KilledError
        return score(settings)

    calls = []
    with pytest.raises(KilledError):
        run(tmp_path / "killed.json", 20, evaluate=killed)
    assert len(tried(tmp_path / "killed.json")) == 13
    best = run(tmp_path / "killed.json", 20)
    assert tried(tmp_path / "killed.json") == tried(tmp_path / "whole.json")
    assert (best.settings, best.score) == (whole.settings, whole.score)


def test_the_seed_decides(tmp_path):
    for name, seed in (("first", 0), ("same", 0), ("other", 1)):
        run(tmp_path / name, 3, seed)
    assert tried(tmp_path / "first") == tried(tmp_path / "same") != tried(tmp_path / "other")


def test_a_trial_that_cannot_be_fitted_is_told_and_the_others_go_on(tmp_path):
    def evaluate(settings):
        if settings["kind"] == "hill":
            raise ValueError("no hill\nto be climbed")
        return score(settings)

    best = run(tmp_path / "trials", 8, evaluate=evaluate)
    assert best.settings["kind"] == "line"
    records = json.loads((tmp_path / "trials").read_text())["trials"]
    failed = [each for each in records if each["settings"]["kind"] == "hill"]
    assert failed
    assert {(each["score"], each["error"]) for each in failed} == {(None, "no hill")}


def test_if_none_can_be_fitted_that_is_an_error(tmp_path):
    def evaluate(settings):
        raise MemoryError

    with pytest.raises(ValueError, match="none of the 2 trials could be fitted: MemoryError"):
        run(tmp_path / "trials", 2, evaluate=evaluate)


def test_seconds_end_it_after_a_trial(tmp_path):
    path, seconds = tmp_path / "trials", SearchConfig(None, 1e-9)
    search(Trials(path, VERSION), seconds, 0, suggest, score)
    assert len(tried(path)) == 1
    search(Trials(path, VERSION), seconds, 0, suggest, score)  # What is spent stays spent.
    assert len(tried(path)) == 1
    search(Trials(path, VERSION), SearchConfig(3, 1e9), 0, suggest, score)
    assert len(tried(path)) == 3


def change(**changes):
    def damage(content):
        content["trials"][0].update(changes)
        return json.dumps(content)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: "{",
        lambda content: "[]",
        lambda content: json.dumps({"version": VERSION}),
        lambda content: json.dumps({**content, "trials": [{}]}),
        lambda content: json.dumps({**content, "trials": [1]}),
        change(settings={}),
        change(score="high"),
        change(settings=None),
        change(distributions={"kind": "no JSON"}),
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, damage):
    path = tmp_path / "trials.json"
    run(path, 1)
    path.write_text(damage(json.loads(path.read_text())))
    before = path.read_text()
    with pytest.raises(ValueError, match=r"trials\.json does not hold the trials of a search"):
        run(path, 1)
    assert path.read_text() == before


def test_trials_of_another_version_are_not_gone_on_with(tmp_path):
    run(tmp_path / "trials", 1)
    with pytest.raises(ValueError, match="of another version of the search, 1 and not 2"):
        run(tmp_path / "trials", 1, version=2)
