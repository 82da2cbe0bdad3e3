"""What Bazel runs for each test file: pytest on the path given."""

import os
import sys

import pytest

if __name__ == "__main__":
    # This file's folder holds folders named as the packages; what is tested is not in it.
    sys.path.pop(0)
    folder = os.path.join(os.environ["TEST_TMPDIR"], "pytest")
    sys.exit(pytest.main(["-p", "no:cacheprovider", f"--basetemp={folder}", *sys.argv[1:]]))
