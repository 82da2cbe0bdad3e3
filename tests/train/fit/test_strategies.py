import pytest
import tensorflow as tf

from train.fit import strategies
from train.fit.strategies import make_strategy, telling_of_lost_peers


def test_auto_on_one_device_says_so_and_why(capsys, monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    strategy = make_strategy()
    assert strategy.num_replicas_in_sync == 1
    assert "Strategy: one_device, since there is " in capsys.readouterr().out


def test_mirrored():
    assert isinstance(make_strategy("mirrored"), tf.distribute.MirroredStrategy)


def test_workers_without_tf_config(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="TF_CONFIG"):
        make_strategy("multi_worker_mirrored")


def test_tpu_without_a_name():
    with pytest.raises(ValueError, match="--tpu"):
        make_strategy("tpu")


@pytest.mark.parametrize(
    "tpu", ["local", "grpc://127.0.0.1:9", "grpc://no-such-host.invalid:8470", "a-name", "grpc://x"]
)
@pytest.mark.parametrize("name", ["tpu", "auto"])
def test_a_tpu_that_does_not_answer_is_one_error_before_tensorflow_looks(name, tpu, monkeypatch):
    def look(*arguments, **options):
        pytest.fail("TensorFlow would wait for minutes")

    monkeypatch.setattr(strategies.distribute_utils, "get_distribution_strategy", look)
    with pytest.raises(OSError, match=f"--tpu={tpu}: no TPU answers"):
        make_strategy(name, tpu)


def fail_plainly():
    raise tf.errors.UnavailableError(None, None, "gone")


def fail_within():
    try:
        raise tf.errors.AbortedError(None, None, "gone")
    except tf.errors.AbortedError as error:
        raise ValueError("the encoder is damaged") from error


def fail_in_a_layer():
    raise ValueError("in user code: UnavailableError: Collective ops is aborted by: worker 1")


@pytest.mark.parametrize("fail", [fail_plainly, fail_within, fail_in_a_layer])
def test_a_lost_worker_is_one_error_however_it_shows(fail):
    with (
        pytest.raises(ConnectionError, match="another worker has stopped"),
        telling_of_lost_peers(tf.distribute.get_strategy()),
    ):
        fail()


def test_other_errors_are_what_they_are():
    with (
        pytest.raises(ValueError, match="something else"),
        telling_of_lost_peers(tf.distribute.get_strategy()),
    ):
        raise ValueError("something else")
