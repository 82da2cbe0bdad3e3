import os
import subprocess
import sys

# In a process of its own, for its flags have the names of other benchmarks'.
COUNTS = """
from benchmarks.step_speed import step_operations

one = {"num_layers": 1, "hidden_size": 2, "inner_dim": 8}
# Keys and values of 3 positions, the rest of one; two products of attention over 3.
kernels, attention = 3 * 2 * 4 + (2 * 4 + 2 * 16), 2 * 3 * 2
assert step_operations(one, rows=1, length=3) == 2 * (2 * kernels + 3 * attention)
two = step_operations({**one, "num_layers": 2}, rows=1, length=3)
whole, attention = 3 * (4 * 4 + 2 * 16), 3 * 2 * 3 * 2
assert two - step_operations(one, 1, 3) == 2 * (2 * whole + 3 * attention)
"""


def test_counts_the_products_of_a_step():
    done = subprocess.run(
        [sys.executable, "-c", COUNTS],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
