"""A search for the best settings that a kill stops for no longer than one trial.

Optuna draws the settings, with its tree-structured Parzen estimator. It was taken because it
draws settings that depend on one another (a model's own are only asked for once the model is
drawn), hands out one trial at a time, so that the run keeps its own clock, signals and files,
and follows a seed. FLAML is built around a budget of time, so that its result depends on how
fast the machine is; scikit-learn's halving tunes one estimator and cannot go on after a kill.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import tqdm

from keras_adapters.atomic import write_text
from train.config_parts import SearchConfig

Settings = dict[str, Any]

# What is told of a trial that failed: below all metrics, which are at least -1.
_WORST = -2.0


@dataclasses.dataclass(frozen=True)
class TrialRecord:
    """One trial that is over.

    Args:
      settings: what was tried.
      distributions: what each was drawn from, in Optuna's JSON.
      score: of the settings; `None` if they could not be tried.
      seconds: that it took.
      error: why they could not be tried.
    """

    settings: Settings
    distributions: dict[str, str]
    score: float | None
    seconds: float
    error: str | None = None


class Trials:
    """The trials of a search, on disk; each is written when it is over.

    Args:
      path: the JSON file; its folder is made when the first trial is over.
      version: of what is searched: settings mean the same where it is the same.

    Raises:
      ValueError: the file is not one of trials, or is of another version.
      OSError: it cannot be read.

    Attributes:
      records: the trials so far.
    """

    def __init__(self, path: str | os.PathLike, version: int) -> None:
        self._path = pathlib.Path(path)
        self._version = version
        self.records: list[TrialRecord] = []
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            found = content["version"]
            self.records = [TrialRecord(**trial) for trial in content["trials"]]
            for record in self.records:
                _frozen(record)
        except FileNotFoundError:
            return
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"{self._path} does not hold the trials of a search, or is damaged: {error}. "
                "Remove it to search from the start"
            ) from error
        if found != version:
            raise ValueError(
                f"{self._path} holds trials of another version of the search, {found} and not "
                f"{version}. Remove it to search from the start, or name another --output_dir"
            )

    def add(self, record: TrialRecord) -> None:
        """Adds a trial, on disk too.

        Raises:
          OSError: it cannot be written.
        """
        self.records.append(record)
        trials = [dataclasses.asdict(each) for each in self.records]
        content = {"version": self._version, "trials": trials}
        write_text(self._path, json.dumps(content, indent=1) + "\n")

    def best(self) -> TrialRecord:
        """Returns the trial of the highest score, of several the first.

        Raises:
          ValueError: none has a score.
        """
        scored = [record for record in self.records if record.score is not None]
        if not scored:
            last = self.records[-1].error if self.records else "there was none"
            raise ValueError(f"none of the {len(self.records)} trials could be fitted: {last}")
        return max(scored, key=lambda record: record.score)


def search(
    trials: Trials,
    budget: SearchConfig,
    seed: int,
    suggest: Callable[[optuna.Trial], Settings],
    evaluate: Callable[[Settings], float],
) -> TrialRecord:
    """Tries settings until the budget is spent, going on after those that were tried.

    What is drawn follows from the seed and the trials before alone, so that a search that was
    killed goes on as it would have gone on.

    Args:
      trials: what was tried; what is tried is added.
      budget: how much in all, with the trials that stand there. The trial that runs when the
        seconds are over is finished, and one is tried in any case.
      seed: of what is drawn.
      suggest: draws settings by asking a trial for them.
      evaluate: returns their score, the higher the better; what it raises as `ValueError`,
        `ArithmeticError` or `MemoryError` fails the trial alone.

    Returns:
      The best trial.

    Raises:
      ValueError: none of the trials could be evaluated.
      OSError: a trial cannot be written.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for record in trials.records:
        study.add_trial(_frozen(record))
    with tqdm.tqdm(
        total=budget.trials, initial=len(trials.records), desc="search", unit=" trials"
    ) as bar:
        while not _is_spent(budget, trials.records):
            (draw,) = np.random.SeedSequence([seed, len(trials.records)]).generate_state(1)
            study.sampler = optuna.samplers.TPESampler(seed=int(draw))
            trials.add(_try(study, suggest, evaluate))
            if trials.records[-1].score is None:
                bar.write(f"trial {len(trials.records)} failed: {trials.records[-1].error}")
            scores = [each.score for each in trials.records if each.score is not None]
            bar.set_postfix(best=f"{max(scores, default=np.nan):.4f}", refresh=False)
            bar.update()
    return trials.best()


def _try(
    study: optuna.Study,
    suggest: Callable[[optuna.Trial], Settings],
    evaluate: Callable[[Settings], float],
) -> TrialRecord:
    trial = study.ask()
    settings = suggest(trial)
    start, score, failure = time.monotonic(), None, None
    try:
        score = evaluate(settings)
    except (ValueError, ArithmeticError, MemoryError) as error:
        failure = (str(error).strip().splitlines() or [type(error).__name__])[0]
    study.tell(trial, _WORST if score is None else score)
    distributions = {
        name: optuna.distributions.distribution_to_json(distribution)
        for name, distribution in trial.distributions.items()
    }
    return TrialRecord(settings, distributions, score, time.monotonic() - start, failure)


def _frozen(record: TrialRecord) -> optuna.trial.FrozenTrial:
    """Returns Optuna's own record of a trial that is over."""
    distributions = {
        name: optuna.distributions.json_to_distribution(text)
        for name, text in record.distributions.items()
    }
    return optuna.trial.create_trial(
        params={name: record.settings[name] for name in distributions},
        distributions=distributions,
        value=_WORST if record.score is None else record.score,
    )


def _is_spent(budget: SearchConfig, records: list[TrialRecord]) -> bool:
    if budget.trials is not None and len(records) >= budget.trials:
        return True
    seconds = sum(record.seconds for record in records)
    return bool(records) and budget.seconds is not None and seconds >= budget.seconds
