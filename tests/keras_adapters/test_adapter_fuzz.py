"""Damaged adapters: each is refused, or loads as exactly what it says.

A few hundred by default; `make fuzz` tries ten thousand and prints a table of what came of them.
"""

import collections
import importlib.util
import json
import os
import pathlib
import resource

import numpy as np
import pytest

import keras_adapters as ka
from keras_adapters import AdapterFileError, Method
from keras_adapters.model_garden.hosts.table import host_of
from keras_adapters.variables import encoder_variables

COUNT = int(os.environ.get("CORRUPTIONS", "300"))
SHOWN = int(os.environ.get("SHOWN", "20"))


def imported(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


corruptions = imported(pathlib.Path(__file__).with_name("corruptions.py"))
FILE, OLD = corruptions.FILE, corruptions.OLD


@pytest.fixture(scope="module")
def version_1(fixtures):
    return fixtures / "adapter_version_1"


@pytest.fixture(scope="module")
def base(fixtures):
    """Makes the model and the encoder that the adapters were trained on."""
    maker = imported(fixtures / "make_adapter_version_1.py")

    def make():
        encoder = maker.encoder()
        model = maker.classifier(encoder)
        return model, encoder

    return make


@pytest.fixture(scope="module")
def good(version_1, base, tmp_path_factory):
    """The files of a good folder of each version."""
    folder = tmp_path_factory.mktemp("good") / "adapter"
    model, encoder = base()
    metadata = ka.load_adapter(version_1, model, encoder)
    ka.save_adapter(folder, model, encoder, {**metadata, "metrics": {"dev": {"accuracy": 0.5}}})
    old = {name: (version_1 / name).read_bytes() for name in (FILE, OLD)}
    return {"present": {FILE: (folder / FILE).read_bytes()}, "version 1": old}


class Target:
    """A plain encoder with a head, made anew or put back where a load has changed it."""

    def __init__(self, make):
        self.make = make
        self.renew()

    def renew(self):
        self.model, self.encoder = self.make()
        self.plain = {name: v.numpy() for name, v in encoder_variables(self.encoder).items()}
        self.head = self.model.get_weights()
        self.parts = (self.model, *self.model.submodules)
        self.variables = self.model.variables
        self.before, self.whole = self.state(), self.whole_state()

    def state(self):
        """What is there, but for parts that have come; `whole_state` finds them, slowly."""
        return (
            [variable.numpy().tobytes() for variable in self.variables],
            [(type(part), getattr(part, "trainable", None)) for part in self.parts],
            [site.end for block in self.blocks() for site in host_of(self.encoder).sites(block)],
        )

    def blocks(self):
        return host_of(self.encoder).blocks(self.encoder)

    def whole_state(self):
        parts = (self.model, *self.model.submodules)
        return (
            [id(variable) for variable in self.model.variables],
            list(map(id, parts)),
            str(self.encoder.get_config()),
        )

    def restore(self):
        try:
            ka.remove_adapter(self.encoder, self.model)
        except ValueError:  # A method that trains more than can be undone.
            return self.renew()
        self.model.set_weights(self.head)
        assert self.is_as_before()
        return None

    def is_as_before(self):
        return self.state() == self.before and self.whole_state() == self.whole


def write(folder, files):
    for name in (FILE, OLD):
        if name in files:
            (folder / name).write_bytes(files[name])
        else:
            (folder / name).unlink(missing_ok=True)


def assert_holds(target, files, metadata):
    """The model holds what the files say, read by no code of the library, and else its base."""
    header, _ = corruptions.split(files[FILE])
    about = header.get("__metadata__") or {}
    described = json.loads(about.get("keras_adapters") or files[OLD])
    assert metadata == described["metadata"]
    if "method" in described:
        assert target.encoder.method == Method.from_json(json.dumps(described["method"]))
    tensors = corruptions.arrays(files[FILE])
    inside = encoder_variables(target.encoder)
    expected = {name: tensors.get(name, target.plain.get(name)) for name in inside}
    for name, variable in inside.items():
        np.testing.assert_array_equal(variable.numpy(), expected[name], err_msg=name)
    for name in ("hidden/kernel", "hidden/bias", "logits/kernel", "logits/bias"):
        layer, _, leaf = name.partition("/")
        value = getattr(target.model.get_layer(layer), leaf).numpy()
        np.testing.assert_array_equal(value, tensors[f"head/{name}"], err_msg=name)
    assert set(tensors) <= set(inside) | {name for name in tensors if name.startswith("head/")}
    assert all(np.isfinite(w).all() for w in target.model.get_weights())


def outcome(target, folder, files, good, consistent):
    """Loads a damaged adapter: `refused`, `loaded`, or what is wrong with what came of it."""
    write(folder, files)
    try:
        metadata = ka.load_adapter(folder, target.model, target.encoder)
    except (AdapterFileError, OSError) as error:
        problem = "" if str(folder) in str(error) else f"the error does not name the file: {error}"
        problem = problem or ("" if len(str(error)) < 20_000 else "an endless error")
        if target.state() != target.before:
            target.renew()
            problem = f"the model has changed after {error!r}"
        return problem or "refused"
    except BaseException as error:
        target.renew()
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{type(error).__name__}: {str(error)[:300]}"
    try:
        assert_holds(target, files if consistent else good, metadata)
    except Exception as error:
        target.renew()
        return f"loaded as another: {type(error).__name__} {str(error)[:300]}"
    target.restore()
    return "loaded"


def test_damaged_files_are_refused_or_load_as_what_they_say(good, base, tmp_path):
    target, folder = Target(base), tmp_path / "adapter"
    folder.mkdir()
    for version in good:
        assert outcome(target, folder, good[version], None, True) == "loaded"
    kinds = [("present", *item) for item in corruptions.PRESENT.items()]
    kinds += [("version 1", *item) for item in corruptions.VERSION_1.items()]
    table, problems = collections.defaultdict(collections.Counter), []
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(COUNT):
        version, kind, (consistent, damage) = kinds[number % len(kinds)]
        files = damage(np.random.default_rng(number), good[version])
        found = outcome(target, folder, files, good[version], consistent)
        table[kind][found if found in ("refused", "loaded") else "wrong"] += 1
        if found not in ("refused", "loaded"):
            problems.append(f"{number} {kind}: {found}")
    assert target.is_as_before()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024  # From KiB to MiB.
    print(f"\n{'kind':<55}{'refused':>9}{'loaded':>9}{'wrong':>9}")
    for kind, counts in {**table, "all": sum(table.values(), collections.Counter())}.items():
        print(f"{kind:<55}" + "".join(f"{counts[c]:>9}" for c in ("refused", "loaded", "wrong")))
    print(f"memory grown by {grown:.0f} MiB at most")
    assert not problems, f"{len(problems)} of {COUNT}:\n" + "\n".join(problems[:SHOWN])
    assert grown < 300
