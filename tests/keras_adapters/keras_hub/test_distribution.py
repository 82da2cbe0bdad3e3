"""Training under `keras.distribution`, on two virtual devices, is that on one."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import keras_adapters as ka
from keras_adapters.adapter_file import read_adapter

SCRIPT = pathlib.Path(__file__).with_name("distributed_training.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the trainings left; on JAX, which alone of Keras's backends has distributions."""
    folder = tmp_path_factory.mktemp("distributed")
    done = subprocess.run(
        [sys.executable, SCRIPT, folder],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": str(pathlib.Path(ka.__file__).parents[1]),
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def results(folder, name):
    return dict(np.load(folder / f"{name}.npz"))


@pytest.mark.parametrize("name", ["data", "sharded"])
def test_two_devices_learn_what_one_does(folder, name):
    one, two = results(folder, "one"), results(folder, name)
    assert one["losses"][-1] < one["losses"][0]
    assert one.keys() == two.keys()
    for key in one:
        if key == "losses" or key.startswith("trained/"):
            np.testing.assert_allclose(two[key], one[key], rtol=1e-3, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", ["one", "data", "sharded"])
def test_frozen_variables_stay_as_they_are(folder, name):
    assert results(folder, name)["unchanged"].all()


def test_the_base_is_in_parts_and_the_adapters_are_whole(folder):
    found = results(folder, "sharded")
    # Six kernels of its block, and the words' vectors.
    assert (found["frozen_parts"] == 0.5).sum() == 7
    assert set(found["frozen_parts"]) == {0.5, 1.0}
    assert set(found["trained_parts"]) == set(found["reloaded_parts"]) == {1.0}
    assert set(results(folder, "data")["frozen_parts"]) == {1.0}


@pytest.mark.parametrize("name", ["one", "data", "sharded"])
def test_an_adapter_file_is_read_again_where_it_was_written(folder, name):
    assert results(folder, name)["reloaded"].all()


def test_the_files_are_those_of_one_device(folder):
    one = read_adapter(folder / "one")
    for name in ("data", "sharded"):
        other = read_adapter(folder / name)
        assert other.base == one.base
        assert other.tensors.keys() == one.tensors.keys()
        for key, value in one.tensors.items():
            np.testing.assert_allclose(
                other.tensors[key], value, rtol=1e-3, atol=1e-5, err_msg=f"{name} {key}"
            )
