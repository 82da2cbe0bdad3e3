import json
import os
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from train.config import RunConfig
from train.encoders.find import find_encoder
from train.run_folder import RunFolder
from train.settle import settle
from train.tasks.table import TASKS

TRAP = "TensorFlow was imported"
TRAIN = "text,label\n" + "".join(f"text {index},{index % 2}\n" for index in range(40))


@pytest.fixture
def command(tmp_path):
    """Runs the command in an empty folder, where importing TensorFlow ends the process."""
    traps = tmp_path / "traps"
    traps.mkdir()
    for module in ("tensorflow", "tf_keras", "keras"):
        (traps / f"{module}.py").write_text(f"raise SystemExit({TRAP!r})\n")
    (tmp_path / "work").mkdir()

    def run(*flags):
        return subprocess.run(
            [sys.executable, "-m", "train.run", *flags],
            cwd=tmp_path / "work",
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(traps), *sys.path])},
            capture_output=True,
            encoding="utf-8",
        )

    return run


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("", "--task"),
        ("--task=mnist", "--task=mnist: value should be one of <cola|"),
        ("--task=reuters_r8 --adapter_size=0", "--adapter_size must be an integer of at least 1"),
        ("--task=reuters_r8 --adapter_size=x", "--adapter_size must be an integer"),
        ("--task=reuters_r8 --adapter_size=8,4", "one for each of the 6 layers"),
        ("--task=reuters_r8 --adapter_form=serial", "--adapter_form=serial: value should be one"),
        ("--task=reuters_r8 --adapter_activation=gulu", "--adapter_activation must be one of"),
        ("--task=reuters_r8 --adapter_sise=8", "'adapter_sise'. Did you mean: adapter_size"),
        ("--task=reuters_r8 8", "flags start with --: 8"),
        ("--task=reuters_r8 --method=full --adapter_size=8", "--adapter_size goes with --method="),
        (
            "--task=reuters_r8 --method=top_layers --top_layers=9",
            "--top_layers does not fit the encoder",
        ),
        ("--task=reuters_r8 --encoder=gone", "--encoder=gone: this is neither a preset, nor"),
        ("--task=reuters_r8 --learning_rate=nan", "--learning_rate must be above 0"),
        ("--task=reuters_r8 --output_dir=", "--output_dir must not be empty"),
        ("--task=reuters_r8 --output_dir=\udcff", "--output_dir must be UTF-8"),
        (f"--task=reuters_r8 --output_dir={'x' * 300}", "--output_dir=xxx"),
        ("--task=squad --max_seq_length=64", "--max_seq_length must be 68 to 512"),
        ("--task=squad --pooling=mean", "--pooling=mean goes with tasks whose head"),
        ("--task=squad --method=no_bert", "--task=squad asks for spans"),
        ("--task=reuters_r8 --method=no_bert --adapter_size=8", "--adapter_size does not go with"),
        ("--task=reuters_r8 --method=no_bert --search_trials=0", "--search_trials must be"),
        ("--task=reuters_r8 --search_seconds=9", "--search_seconds goes with --method=no_bert"),
        ("--task=reuters_r8 --feature_cache=out", "--feature_cache=out goes with --method="),
        ("--task=csv", "--task=csv needs --train_file"),
        ("--task=csv --train_file=gone.csv", "--train_file=gone.csv: there is no such file"),
        ("--task=csv --train_file=../t.csv --dev_file=../t.csv", "--train_file and --dev_file"),
        ("--task=csv --train_file=../t.csv --text_columns=body", "no column 'body'"),
        ("--task=csv --train_file=../t.csv --text_columns=text,label", "--label_column must"),
    ],
)
def test_bad_flags_end_with_a_message_and_leave_nothing(command, tmp_path, flags, message):
    (tmp_path / "t.csv").write_text(TRAIN)
    done = command(*flags.split())
    assert done.returncode == 1
    assert message in done.stderr
    assert TRAP not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not os.listdir(tmp_path / "work")


def test_good_flags_and_data_come_before_tensorflow(command, tmp_path):
    (tmp_path / "t.csv").write_text(TRAIN)
    done = command("--task=csv", "--train_file=../t.csv", "--adapter_size=8", "--output_dir=out")
    assert TRAP in done.stderr
    assert sorted(os.listdir(tmp_path / "work" / "out")) == [".lock", "config.json"]


def test_weights_that_do_not_fit_end_with_a_message(tmp_path):
    sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
    config = {"intermediate_size": 8, "max_position_embeddings": 128, "type_vocab_size": 2}
    config |= {**dict.fromkeys(sizes, 8), "hidden_act": "gelu", "hidden_dropout_prob": 0.1}
    config |= {"model_type": "bert", "attention_probs_dropout_prob": 0.1}
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    (encoder / "config.json").write_text(json.dumps(config))
    (encoder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\ntext\n")
    pooler = {"pooler.dense.weight": np.zeros((7, 7), np.float32)}
    safetensors.numpy.save_file(pooler, encoder / "model.safetensors")
    (tmp_path / "t.csv").write_text(TRAIN)
    flags = ("--task=csv", "--train_file=t.csv", "--encoder=encoder", "--output_dir=out")
    done = subprocess.run(
        [sys.executable, "-m", "train.run", *flags],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 1
    assert "error: encoder/model.safetensors does not fit the model" in done.stderr
    assert "Traceback" not in done.stderr


def test_finished_run_shows_its_results_again(command, tmp_path):
    config = RunConfig.from_settings("reuters_r8", output_dir=str(tmp_path / "out"), export=False)
    encoder = find_encoder(config.model.encoder)
    config = settle(config, encoder)
    data = TASKS["reuters_r8"].read(config.files).fingerprint()
    with RunFolder(config, data, encoder.checksum) as folder:
        folder.check_encoder("its fingerprint")
        folder.write_results(
            {
                "task": "reuters_r8",
                "method": "adapters",
                "seed": 0,
                "parameters": {"total": 2_000_000, "trained": 50_000, "trained_percent": 2.5},
                "metrics": {"dev": {"accuracy": 0.975, "macro_f1": 0.5}},
                "examples": {"dev": 200},
                "adapter_bytes": 1_200_000,
                "examples_per_second": None,
                "seconds": 61.0,
                "peak_memory_bytes": 1_500_000_000,
            }
        )
    folder.adapter.mkdir()
    (folder.adapter / "adapter.safetensors").write_text("{}")
    done = command("--task=reuters_r8", "--noexport", f"--output_dir={tmp_path / 'out'}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "has finished before" in done.stdout
    assert "accuracy 97.50, macro_f1 50.00 (200 examples)" in done.stdout
    assert "50,000 of 2,000,000 parameters (2.50%), 1.2 MB on disk" in done.stdout
    done = command("--task=reuters_r8", "--seed=1", f"--output_dir={tmp_path / 'out'}")
    assert done.returncode == 1
    assert "seed: 0 there, 1 now" in done.stderr
    (tmp_path / "out" / "results.json").write_text("{}")
    done = command("--task=reuters_r8", "--noexport", f"--output_dir={tmp_path / 'out'}")
    assert done.returncode == 1
    assert "holds a results.json that is not a run's, or is damaged" in done.stderr


@pytest.mark.parametrize("module", ["train.run", "train.classify", "train.submission"])
def test_help_into_a_pipe_that_closes_says_nothing(module):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-m", module, "--help"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.wait()
