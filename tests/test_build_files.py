"""Holds the BUILD files against the imports that the sources really make."""

import ast
import collections
import graphlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SOURCES = sorted(
    path for name in ("keras_adapters", "train") for path in ROOT.glob(f"{name}/**/*.py")
)
# The rooms of each package from the ground up: each imports from itself and those before it.
ROOMS = {
    "keras_adapters": (
        "atomic",
        "vocabulary",
        "methods",
        "bottleneck",
        "keras3",
        "wire",
        "preprocessor",
        "fingerprint",
        "adapter_card",
        "adapter_bytes",
        "adapter_file",
        "activations",
        "host",
        "bindings",
        "variables",
        "head",
        "original",
        "planning",
        "splice",
        "freezing",
        "summary",
        "same_base",
        "saving",
        "model_garden",
        "converters",
        "keras_hub",
        "adapter_hub",
        "convert",
        "multi_task",
        "registration",
    ),
    "train": (
        "command",
        "quiet",
        "tasks",
        "encoders",
        "fit",
        "objectives",
        "adapter_flags",
        "config_parts",
        "config",
        "settle",
        "folder_lock",
        "run_folder",
        "results",
        "baselines",
        "assembly",
        "outputs",
        "experiment",
        "run",
        "bundle",
        "ray_extra",
        "serving",
        "classify",
        "scoring",
        "predict",
        "serve",
        "submission",
        "study",
        "sweep",
        "ablate",
        "report",
    ),
}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in SOURCES}


def imports_of(source):
    """The modules of this repository that a source imports.

    Inside functions too, and for type checkers alone.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found.update(name if name in MODULES else node.module for name in names)
        elif isinstance(node, ast.Constant) and "." in str(node.value):
            found.add(node.value)  # A full name in a string is there for importlib.
    return found & set(MODULES)


IMPORTS = {name: imports_of(path.read_text()) - {name} for name, path in MODULES.items()}


def read_targets(build_file):
    """The targets of a BUILD file, which is Python to read: label to (sources, dependencies)."""
    package = build_file.parent.relative_to(ROOT).as_posix()
    targets = {}

    def label(text):
        if text.startswith(":"):
            return f"//{package}{text}"
        return text if ":" in text else f"{text}:{text.split('/')[-1]}"

    def rule(name, srcs=(), deps=(), **_):
        sources = [build_file.parent / source for source in srcs]
        targets[f"//{package}:{name}"] = sources, [label(dep) for dep in deps]

    rules = dict.fromkeys(("py_library", "py_binary", "py_test"), rule)
    others = {"package": lambda **_: None, "glob": lambda *_, **__: []}
    exec(build_file.read_text(), rules | others)
    return targets


TARGETS = {}
for folder in sorted({path.parent for path in SOURCES}):
    TARGETS |= read_targets(folder / "BUILD")
OWNERS = {label: module_name(sources[0]) for label, (sources, _) in TARGETS.items()}


def test_every_module_has_one_target_of_its_name():
    sources = collections.Counter(path for paths, _ in TARGETS.values() for path in paths)
    assert sources == dict.fromkeys(SOURCES, 1)
    for label, module in OWNERS.items():
        assert label.split(":")[1] == module.split(".")[-1]


@pytest.mark.parametrize("label", TARGETS)
def test_dependencies_are_the_imports(label):
    assert {OWNERS.get(dep, dep) for dep in TARGETS[label][1]} == IMPORTS[OWNERS[label]]


def test_imports_make_no_cycle():
    assert set(graphlib.TopologicalSorter(IMPORTS).static_order()) == set(MODULES)


def test_the_library_imports_nothing_of_the_application():
    for module, imports in IMPORTS.items():
        if module.startswith("keras_adapters"):
            assert not [name for name in imports if name.startswith("train")], module


@pytest.mark.parametrize("package", ROOMS)
def test_imports_go_in_one_direction(package):
    rooms = ROOMS[package]
    for module, imports in IMPORTS.items():
        if module.startswith(f"{package}."):
            reach = rooms[: rooms.index(module.split(".")[1]) + 1]
            inside = [name for name in imports if name.startswith(f"{package}.")]
            assert {name.split(".")[1] for name in inside} <= set(reach), module


def test_training_and_tasks_do_not_know_each_other():
    for module, imports in IMPORTS.items():
        if module.startswith("train.fit."):
            assert not [name for name in imports if name.startswith("train.tasks")], module


def test_the_tests_bring_every_module():
    (_, reached) = read_targets(ROOT / "tests" / "BUILD")["//tests:packages"]
    for label in reached:  # Grows while it is read.
        reached.extend(dep for dep in TARGETS[label][1] if dep not in reached)
    assert {OWNERS[label] for label in reached} == set(MODULES)
