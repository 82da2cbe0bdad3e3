"""Packaging for tools that call setup.py; the rest is said in pyproject.toml."""

from setuptools import setup

# The default, `build`, is Bazel's BUILD where the file system ignores case.
setup(options={"build": {"build_base": ".build"}})
