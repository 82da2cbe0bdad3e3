import errno
import os
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from train.fit.checkpoints import TrainingCheckpoints


@pytest.fixture
def make():
    def make(seed=0):
        tf_keras.utils.set_random_seed(seed)
        frozen = tf_keras.layers.Dense(3, trainable=False)
        model = tf_keras.Sequential([tf_keras.Input([2]), frozen, tf_keras.layers.Dense(1)])
        model.compile(tf_keras.optimizers.AdamW(0.1), "mse")
        return model

    return make


def train(model, steps):
    for _ in range(steps):
        model.train_on_batch(np.ones([4, 2]), np.ones([4, 1]))


def state(model):
    return [v.numpy() for v in (*model.trainable_variables, *model.optimizer.variables)]


def test_restores_what_trains_the_slots_and_the_step(make, tmp_path):
    model = make()
    train(model, 3)
    TrainingCheckpoints(tmp_path, model).save()
    other = make(seed=1)
    checkpoints = TrainingCheckpoints(tmp_path, other)
    assert checkpoints.restore() == checkpoints.step == 3
    assert all(map(np.array_equal, state(other), state(model)))
    # What is frozen comes from the pretrained encoder, not from here.
    assert not np.array_equal(other.layers[0].kernel, model.layers[0].kernel)
    shapes = [shape for _, shape in tf.train.list_variables(str(tmp_path / "step-3"))]
    assert [3, 1] in shapes
    assert list(model.layers[0].kernel.shape) not in shapes


def test_without_any_nothing_changes(make, tmp_path):
    model = make()
    before = state(model)
    checkpoints = TrainingCheckpoints(tmp_path / "none", model)
    assert checkpoints.restore() == 0
    assert all(map(np.array_equal, before[:2], state(model)[:2]))


def test_keeps_the_last_ones(make, tmp_path):
    model = make()
    checkpoints = TrainingCheckpoints(tmp_path, model, keep=2)
    for _ in range(4):
        train(model, 1)
        checkpoints.save()
        checkpoints.save()  # A second time at one step changes nothing.
    assert sorted(path.name for path in tmp_path.glob("*.index")) == [
        "step-3.index",
        "step-4.index",
    ]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(("step-1", "step-2"))]


def test_what_is_not_finite_is_not_saved(make, tmp_path):
    model = make()
    checkpoints = TrainingCheckpoints(tmp_path, model)
    train(model, 1)
    checkpoints.save()
    train(model, 1)
    model.layers[-1].bias.assign([np.nan])
    with pytest.raises(FloatingPointError, match=r"after step 2 1 .* such as dense.*bias"):
        checkpoints.save()
    assert [path.name for path in tmp_path.glob("*.index")] == ["step-1.index"]


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [half, flip, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
def test_a_damaged_newest_falls_back_to_the_one_before(damage, part, make, tmp_path):
    model = make()
    checkpoints = TrainingCheckpoints(tmp_path, model)
    train(model, 1)
    checkpoints.save()
    expected = state(model)
    train(model, 1)
    checkpoints.save()
    damage(tmp_path / f"step-2.{part}")
    other = make(seed=1)
    restored = TrainingCheckpoints(tmp_path, other)
    with pytest.warns(UserWarning, match="step-2 is damaged"):
        assert restored.restore() == 1
    assert all(map(np.array_equal, state(other), expected))
    # Come to the same step again, its state is written anew.
    train(other, 1)
    restored.save()
    assert TrainingCheckpoints(tmp_path, make()).restore() == 2


def test_a_state_under_another_name_is_an_error(make, tmp_path):
    model = make()
    train(model, 1)
    TrainingCheckpoints(tmp_path, model).save()
    for file in list(tmp_path.glob("step-1.*")):
        file.rename(tmp_path / file.name.replace("step-1", "step-9"))
    with pytest.raises(ValueError, match="step-9 is one of step 1, under another name"):
        TrainingCheckpoints(tmp_path, make()).restore()


def test_removes_what_a_cut_off_write_left(make, tmp_path):
    (tmp_path / "step-7_temp").mkdir()
    (tmp_path / "step-7_temp" / "part-00000-of-00001.data").write_text("half")
    assert TrainingCheckpoints(tmp_path, make()).restore() == 0
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_earlier_ones(make, tmp_path, monkeypatch):
    model = make()
    checkpoints = TrainingCheckpoints(tmp_path, model)
    train(model, 1)
    checkpoints.save()
    train(model, 1)

    def fail(path):
        (tmp_path / "step-2.data-00000-of-00001").write_text("half")
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(checkpoints._checkpoint, "write", fail)
    with pytest.raises(OSError, match="No space left on device"):
        checkpoints.save()
    assert {path.name.split(".")[0] for path in tmp_path.iterdir()} == {"step-1"}
    assert TrainingCheckpoints(tmp_path, make()).restore() == 1


def test_only_one_worker_writes(make, tmp_path):
    model = make()
    train(model, 1)
    TrainingCheckpoints(tmp_path / "none", model, writes=False).save()
    assert not (tmp_path / "none").exists()


@pytest.fixture
def saved(make, tmp_path):
    """A folder of two states and a model of before."""
    model = make()
    checkpoints = TrainingCheckpoints(tmp_path, model)
    for _ in range(2):
        train(model, 1)
        checkpoints.save()
    return sorted(tmp_path.iterdir())


def no_longer_there(path):
    path.unlink()


def a_folder(path):
    path.unlink()
    path.mkdir()


def a_dangling_link(path):
    path.unlink()
    path.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("harm", "part"),
    [
        (no_longer_there, "data-00000-of-00001"),
        (a_folder, "data-00000-of-00001"),
        (a_dangling_link, "data-00000-of-00001"),
        (a_folder, "index"),
    ],
)
def test_what_cannot_be_read_is_named_and_left(harm, part, saved, make, tmp_path):
    harm(tmp_path / f"step-2.{part}")
    before = sorted(path for path in saved if os.path.lexists(path))
    model = make(seed=1)
    weights = model.get_weights()
    checkpoints = TrainingCheckpoints(tmp_path, model)
    with pytest.raises(OSError, match=r"step-2 cannot be read: .*Mend that") as error:
        checkpoints.restore()
    assert f"step-2.{part}" in str(error.value)
    assert sorted(tmp_path.iterdir()) == before
    assert all(map(np.array_equal, weights, model.get_weights()[: len(weights)]))


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
def test_an_error_of_the_disk_is_no_damage(code, part, saved, make, tmp_path, monkeypatch):
    """Nor is it one where TensorFlow, which says "corrupt" of both, meets it first."""
    whole = pathlib.Path.open
    damaged = tmp_path / f"step-2.{part}"
    flip(damaged)
    reads = []

    def unreadable(path, *arguments, **options):
        if path == damaged:
            reads.append(path)
            if len(reads) > monkeypatched["good_reads"]:
                raise OSError(code, os.strerror(code), str(path))
        return whole(path, *arguments, **options)

    monkeypatch.setattr(pathlib.Path, "open", unreadable)
    for good_reads in (0, 1):
        monkeypatched = {"good_reads": good_reads}
        reads.clear()
        with pytest.raises(OSError, match=os.strerror(code)):
            TrainingCheckpoints(tmp_path, make()).restore()
    assert sorted(tmp_path.iterdir()) == saved


def test_another_kind_of_error_is_no_damage(saved, make, tmp_path, monkeypatch):
    def fail(path):
        raise tf.errors.ResourceExhaustedError(None, None, "out of memory")

    monkeypatch.setattr(tf.train, "load_checkpoint", fail)
    with pytest.raises(OSError, match="out of memory"):
        TrainingCheckpoints(tmp_path, make()).restore()
    assert sorted(tmp_path.iterdir()) == saved


def wider():
    return tf_keras.Sequential([tf_keras.Input([2]), tf_keras.layers.Dense(5)]), "AdamW"


def deeper():
    layers = [tf_keras.layers.Dense(3), tf_keras.layers.Dense(1)]
    return tf_keras.Sequential([tf_keras.Input([2]), *layers]), "AdamW"


def other_optimiser():
    frozen = tf_keras.layers.Dense(3, trainable=False)
    return tf_keras.Sequential([tf_keras.Input([2]), frozen, tf_keras.layers.Dense(1)]), "SGD"


@pytest.mark.parametrize("build", [wider, deeper, other_optimiser])
def test_a_state_of_another_structure_is_one_error(build, saved, tmp_path):
    model, optimizer = build()
    model.compile(optimizer, "mse")
    checkpoints = TrainingCheckpoints(tmp_path, model)
    before = state(model)
    with pytest.raises(ValueError, match=r"step-2 is one of another model .*:\n  .*there"):
        checkpoints.restore()
    assert all(map(np.array_equal, state(model), before))
    assert sorted(tmp_path.iterdir()) == saved
    shutil.rmtree(tmp_path)
    assert checkpoints.restore() == 0
