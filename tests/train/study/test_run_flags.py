import re

import pytest
from absl import flags

from train.study.run_flags import RunFlags


def test_command_lines_are_read_one_after_the_other():
    run_flags = RunFlags()
    before = flags.FLAGS["epochs"].present
    first = run_flags.read(["--task=reuters_r8", "--epochs=7", "--noexport", "--adapter_size=8"])
    second = run_flags.read(["--task=reuters_r52", "--method=full"])
    assert (first.fit.epochs, first.keep.export, first.method.insertion.size) == (7, False, 8)
    assert (second.fit.epochs, second.keep.export, second.method.name) == (3, True, "full")
    assert second.fit.learning_rate > 0  # Settled.
    assert flags.FLAGS["epochs"].present == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--task must have a value"),
        (["--task=reuters_r8", "--epoch=1"], "'epoch'. Did you mean: epochs"),
        (["--task=reuters_r8", "--epochs=x"], "flag --epochs=x"),
        (["--task=reuters_r8", "--epochs=0"], "--epochs must be a whole number of at least 1"),
        (["--task=reuters_r8", "--max_seq_length=1000"], "--max_seq_length must be 3 to 512"),
        (["--task=reuters_r8", "8"], "flags start with --: 8"),
    ],
)
def test_what_train_run_refuses_is_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        RunFlags().read(arguments)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("learning_rate", "3e-3", "0.003"),
        ("learning_rate", 0.00003, "3e-05"),
        ("learning_rate", 1, "1.0"),
        ("epochs", "03", "3"),
        ("epochs", 3, "3"),
        ("export", False, "false"),
        ("precision", "bfloat16", "bfloat16"),
    ],
)
def test_equal_values_have_one_text(name, value, text):
    assert RunFlags().text(name, value) == text


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", 2.5, r"flag --epochs=2\.5: "),
        ("epochs", [1], r"--epochs takes one value\. Received: \[1\]"),
        ("precision", "float64", "flag --precision=float64: value should be one of"),
        ("epoch", 1, r"--epoch is not a flag of train\.run\. Did you mean: epochs"),
        ("wholly_other", 1, r"--wholly_other is not a flag of train\.run$"),
    ],
)
def test_values_that_a_flag_does_not_take(name, value, message):
    with pytest.raises(ValueError, match=message):
        RunFlags().text(name, value)
