"""The wheel that is built holds the whole code, and what is tested is what it installs."""

import importlib.metadata
import pathlib
import shutil
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_wheel_holds_every_module_and_nothing_else(tmp_path):
    ignored = shutil.ignore_patterns(".*", "build", "dist", "runs", "*.egg-info")
    tree = shutil.copytree(ROOT, tmp_path / "tree", ignore=ignored)
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(tree)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in ("keras_adapters", "train")
        for path in (ROOT / package).rglob("*.py")
    }
    assert names == sources


def test_metadata_names_the_extras():
    metadata = importlib.metadata.metadata("keras-adapters")
    assert {"gpu", "tpu", "test"} <= set(metadata.get_all("Provides-Extra"))
