import time

import pytest
import tensorflow as tf

from train.fit.strategies import make_strategy


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
def test_a_tpu_that_does_not_answer_is_one_error_in_seconds(name, tpu):
    start = time.monotonic()
    with pytest.raises(OSError, match=f"--tpu={tpu}: no TPU answers"):
        make_strategy(name, tpu)
    assert time.monotonic() - start < 20
