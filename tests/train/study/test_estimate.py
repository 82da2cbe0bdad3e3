import pytest

from train.config import RunConfig
from train.study.estimate import estimate, in_words


def config(task="rte", method="adapters", epochs=1, **settings):
    size = 8 if method == "adapters" else None
    return RunConfig.from_settings(
        task, method, adapter_size=size, epochs=epochs, data_dir="x", **settings
    )


def results(examples, seconds):
    return {"examples": {"train": examples}, "seconds": seconds}


def test_time_grows_with_epochs_and_examples():
    finished = [(config(epochs=2), results(100, 50.0)), (config(epochs=1), results(100, 40.0))]
    told = estimate([config(epochs=20), config(max_train_examples=10)], finished)
    assert told.seconds == pytest.approx((20 * 100 + 10) * 90 / 300)
    assert (told.known, told.unknown) == (2, ())


def test_runs_of_the_same_method_count_first():
    finished = [
        (config(), results(100, 10.0)),
        (config(method="full"), results(100, 30.0)),
    ]
    assert estimate([config(method="full")], finished).seconds == 30
    assert estimate([config(method="layer_norm")], finished).seconds == 20


def test_what_is_not_known_is_said():
    finished = [(config(max_train_examples=10), results(10, 1.0))]
    runs = [config(), config("cola"), config("cola"), config(max_train_examples=20)]
    told = estimate(runs, finished)
    assert (told.seconds, told.known, told.unknown) == (2.0, 1, ("rte", "cola"))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (59.6, "1 min"), (3725, "1 h 2 min"), (90061, "1 d 1 h")],
)
def test_times_in_words(seconds, words):
    assert in_words(seconds) == words
