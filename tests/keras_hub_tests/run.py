"""Runs KerasHub's own tests of backbones and tasks with adapters in every backbone they make.

Each backbone that has a host is adapted as soon as it is made. The adapters' up-projections are
zero, so that all results must be those without adapters: what a backbone returns is computed
without them too, and must be the same, bit for bit.

`python run.py SOURCE` runs all, of KerasHub's source at the version that is installed (its packages
leave the tests out); `python run.py SOURCE bert vit` runs the models named.
"""

from __future__ import annotations

import contextlib
import functools
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras_hub.src.tests.test_case import TestCase

from keras_adapters import AdapterConfig, BottleneckAdapter, splice
from keras_adapters.keras_hub import adapted
from keras_adapters.keras_hub.hosts.table import HOSTS
from keras_adapters.original import insertion_of

MODELS = (
    *("albert", "bert", "deberta_v3", "distil_bert", "electra", "f_net", "gpt2", "llama"),
    *("llama3", "mistral", "opt", "qwen", "qwen3", "roberta", "vit", "xlm_roberta"),
)
FILES = ("*_backbone_test.py", "*_classifier_test.py", "*_causal_lm_test.py", "*_masked_lm_test.py")
# Tests that cannot hold with adapters, and why; each must fail, or it leaves this list.
CANNOT_HOLD = {
    "counts the plain backbone's parameters": (
        "LlamaTest::test_num_parameters",
        "MistralBackboneTest::test_num_parameters",
        "Qwen3Test::test_num_parameters",
    ),
    "at its end, chooses what to quantise by layers' exact classes": (
        "LlamaTest::test_backbone_basics",
        "MistralBackboneTest::test_backbone_basics",
        "MistralBackboneTest::test_explicit_head_dim",
    ),
}
CONFIG = AdapterConfig(size=2)


class Splicer:
    """The pytest plugin; counts what it put in and what it compared.

    Args:
      test_data: the folder of what KerasHub's tests read.
    """

    def __init__(self, test_data: pathlib.Path) -> None:
        self.test_data = str(test_data)
        self.counts = dict.fromkeys(["backbones", "adapter calls", "comparisons"], 0)
        self.bypass = False  # Adapters do nothing.

    def pytest_configure(self) -> None:
        """Patches the classes."""
        plan = adapted.plan

        def plan_once(encoder: Any, config: AdapterConfig) -> list:
            # A reloaded backbone is spliced when it is made, before its config asks for it.
            return plan(encoder, config) if insertion_of(encoder) != config else []

        adapted.plan = plan_once
        TestCase.get_test_data_dir = lambda _: self.test_data
        self._wrap(BottleneckAdapter, "call", self._call)
        for host in HOSTS:
            self._wrap(host, "__init__", functools.partial(self._make, host))
            self._wrap(host, "__call__", self._compare_calls)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Marks the tests that cannot hold, and those that need files from elsewhere."""
        for reason, names in CANNOT_HOLD.items():
            for item in items:
                if item.nodeid.endswith(names):
                    mark = pytest.mark.xfail(raises=AssertionError, reason=reason, strict=True)
                    item.add_marker(mark)
        items[:] = [item for item in items if not item.get_closest_marker("extra_large")]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Prints the counts."""
        terminalreporter.write_line(f"spliced and compared: {self.counts}")

    def _wrap(self, cls: type, name: str, around: Callable) -> None:
        own = getattr(cls, name)

        @functools.wraps(own)
        def wrapped(instance: Any, *args: Any, **kwargs: Any) -> Any:
            return around(functools.partial(own, instance), instance, *args, **kwargs)

        setattr(cls, name, wrapped)

    def _make(self, cls: type, make: Callable, backbone: Any, *args: Any, **kwargs: Any) -> None:
        make(*args, **kwargs)
        quantised = any(layer.quantization_mode for layer in backbone._flatten_layers())
        if type(backbone) is not cls or quantised:
            return
        splice.add_adapters(backbone, CONFIG)
        for layer in backbone._flatten_layers():
            if isinstance(layer, BottleneckAdapter):
                layer.up.kernel.assign(np.zeros(layer.up.kernel.shape))
        self.counts["backbones"] += 1

    def _call(self, call: Callable, adapter: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        self.counts["adapter calls"] += not self.bypass
        return inputs if self.bypass else call(inputs, *args, **kwargs)

    def _compare_calls(self, call: Callable, backbone: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = call(*args, **kwargs)
        if _is_concrete(outputs) and not kwargs.get("training"):
            with self._bypassed():
                keras.tree.map_structure(_assert_equal, outputs, call(*args, **kwargs))
            self.counts["comparisons"] += 1
        return outputs

    @contextlib.contextmanager
    def _bypassed(self) -> Iterator[None]:
        self.bypass = True
        try:
            yield
        finally:
            self.bypass = False


def _is_concrete(outputs: Any) -> bool:
    try:
        keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)
    except Exception:  # Whatever a backend raises of a tensor without values.
        return False
    return True


def _assert_equal(first: Any, second: Any) -> None:
    np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (first, second)))


if __name__ == "__main__":
    source = pathlib.Path(sys.argv[1], "keras_hub", "src")
    folders = [source / "models" / name for name in sys.argv[2:] or MODELS]
    files = [str(file) for folder in folders for form in FILES for file in folder.glob(form)]
    if not files:
        sys.exit(f"{sys.argv[1]} holds no source of KerasHub with its tests")
    options = ["-q", "-ra", "-p", "no:cacheprovider", "--tb=short", "--import-mode=importlib"]
    options += [f"--rootdir={sys.argv[1]}", "--run_large"]
    sys.exit(pytest.main([*options, *files], plugins=[Splicer(source / "tests" / "test_data")]))
