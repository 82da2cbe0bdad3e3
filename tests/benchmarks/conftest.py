import pathlib
import sys

# The benchmarks are not installed. Last, so that the packages beside them are those installed.
sys.path.append(str(pathlib.Path(__file__).parents[2]))
