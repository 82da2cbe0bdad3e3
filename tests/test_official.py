"""A slice of `make official-tests`, which runs all of them."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parent / "official_tests" / "run.py"


@pytest.mark.long
def test_official_tests_pass_with_adapters_in_their_encoders(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, "albert_encoder_test", "bert_dense_encoder_test"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    counts = re.search(r"'encoders': (\d+), .*'comparisons': (\d+)", done.stdout)
    assert all(int(count) > 0 for count in counts.groups())
