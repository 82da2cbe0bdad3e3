import sys

import pytest
import tensorflow as tf
import tf_keras

from keras_adapters import original
from train.assembly import assemble
from train.config import RunConfig
from train.encoders.find import find_encoder
from train.run_folder import RunFolder
from train.settle import settle
from train.tasks.table import TASKS


@pytest.fixture
def start(make_tiny_folder, write_tiny_data, tmp_path, monkeypatch):
    """Puts together what a run works with."""
    # It would hold for all tests that follow.
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)

    def start(folder):
        data = write_tiny_data(tmp_path / "train.csv", 40)
        dev = write_tiny_data(tmp_path / "dev.csv", 8)
        config = RunConfig.from_settings(
            "csv", train_file=str(data), dev_file=str(dev), encoder=str(folder),
            output_dir=str(tmp_path / "run"), adapter_size=2, batch_size=8, max_seq_length=16,
            pack=False,
        )  # fmt: skip
        files = find_encoder(folder)
        config = settle(config, files)
        examples = TASKS["csv"].read(config.files)
        with RunFolder(config, examples.fingerprint(), files.checksum) as of_run:
            built = assemble(config, examples, files, of_run, tf.distribute.get_strategy())
            return built, of_run._read("config.json")["encoder"]

    return start


def test_the_base_is_hashed_once(start, make_tiny_folder, tmp_path, monkeypatch):
    hashed = []
    digest = original.digest
    monkeypatch.setattr(original, "digest", lambda value: hashed.append(value) or digest(value))
    built, _ = start(make_tiny_folder(tmp_path / "encoder"))
    assert len(hashed) == len(built.encoder.original.base.digests)


def test_the_fingerprint_is_of_the_weights_and_not_of_their_file(start, make_tiny_folder, tmp_path):
    import safetensors.numpy

    folder = make_tiny_folder(tmp_path / "encoder")
    _, first = start(folder)
    weights = folder / "model.safetensors"
    tensors = safetensors.numpy.load_file(weights)
    prefixed = {f"bert.{name}": value for name, value in tensors.items()}
    safetensors.numpy.save_file(prefixed, weights)
    assert start(folder)[1] == first
    prefixed["bert.pooler.dense.bias"] += 1
    safetensors.numpy.save_file(prefixed, weights)
    assert start(folder)[1] != first


def test_autograph_converts_nothing(start, make_tiny_folder, tmp_path, monkeypatch):
    callers = set()
    call = tf_keras.layers.LayerNormalization.call

    def record(layer, *arguments):
        frame = sys._getframe()
        while frame := frame.f_back:
            callers.add(frame.f_code.co_filename)
        return call(layer, *arguments)

    monkeypatch.setattr(tf_keras.layers.LayerNormalization, "call", record)
    built, _ = start(make_tiny_folder(tmp_path / "encoder"))
    source = built.objective.train
    step = tf.function(built.fitted.train_step)
    step(source.gather(tf.range(8)))
    assert any(path.endswith("assembly.py") for path in callers)
    assert not [path for path in callers if "autograph_generated" in path]
