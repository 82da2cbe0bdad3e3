import os
import signal

import pytest

from train.fit.interruptions import Interruptions, Preempted
from train.fit.safeguards import Safeguards


class Checkpoints:
    step = 4
    writes = True

    def __init__(self):
        self.saved = 0

    def save(self):
        self.saved += 1


@pytest.fixture
def checkpoints():
    return Checkpoints()


def test_saves_at_an_interval(checkpoints, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("train.fit.safeguards.time.monotonic", lambda: clock[0])
    safeguards = Safeguards(checkpoints, 10, Interruptions())
    saved = []
    for clock[0] in (4, 9, 11, 15, 22):
        safeguards.on_train_batch_end(0, {"loss": 1.0})
        saved.append(checkpoints.saved)
    assert saved == [0, 0, 1, 1, 2]
    safeguards.on_train_end()
    assert checkpoints.saved == 3


def test_interval_zero_saves_each_step(checkpoints):
    safeguards = Safeguards(checkpoints, 0, Interruptions())
    for _ in range(3):
        safeguards.on_train_batch_end(0, {"loss": 1.0})
    assert checkpoints.saved == 3


@pytest.mark.parametrize(
    "between",
    [lambda s: s.on_train_batch_end(0, {"loss": 1.0}), lambda s: s.stop_if_asked()],
    ids=["training", "evaluation"],
)
def test_a_signal_saves_between_steps_and_stops(between, checkpoints):
    def train():
        with (
            Interruptions() as interruptions,
            Safeguards(checkpoints, 1e9, interruptions) as safeguards,
        ):
            safeguards.stop_if_asked()
            os.kill(os.getpid(), signal.SIGTERM)
            assert checkpoints.saved == 0  # A step may be at work.
            between(safeguards)

    with pytest.raises(Preempted, match="SIGTERM at step 4, which is saved"):
        train()
    assert checkpoints.saved == 1


def test_a_signal_after_the_last_step_is_not_lost(checkpoints):
    after = []

    def train():
        with Interruptions() as interruptions:
            with Safeguards(checkpoints, 1e9, interruptions):
                os.kill(os.getpid(), signal.SIGTERM)
            after.append("reached")

    with pytest.raises(Preempted, match="step 4"):
        train()
    assert not after


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_before_it_is_saved(loss, checkpoints):
    with pytest.raises(FloatingPointError, match="--learning_rate"):
        Safeguards(checkpoints, 0, Interruptions()).on_train_batch_end(0, {"loss": loss})
    assert checkpoints.saved == 0
