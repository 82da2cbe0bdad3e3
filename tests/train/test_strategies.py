import pytest
import tensorflow as tf

from train.strategies import make_strategy


def test_auto_on_one_device_says_so(capsys):
    strategy = make_strategy()
    assert strategy.num_replicas_in_sync == 1
    assert "one_device" in capsys.readouterr().out


def test_mirrored():
    assert isinstance(make_strategy("mirrored"), tf.distribute.MirroredStrategy)


def test_tpu_without_a_name():
    with pytest.raises(ValueError, match="--tpu"):
        make_strategy("tpu")
