"""The pickles in torch's files, as data: a machine for the few opcodes that hold tensors.

Python's own unpickler calls what a pickle names. Nothing is called here and nothing imported:
a name is looked up in a table of what tensors are made of, and any other is refused.

Reference:
  `pickletools` for the opcodes; `torch/_utils.py` and `torch/serialization.py` for the names.
"""

from __future__ import annotations

import dataclasses
import pickletools
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

# The storages that are read, and NumPy's type of their values.
STORAGES: Mapping[str, Any] = {
    "torch FloatStorage": np.float32,
    "torch HalfStorage": np.float16,
    "torch BFloat16Storage": ml_dtypes.bfloat16,
    "torch DoubleStorage": np.float64,
}
_DICTIONARY = "collections OrderedDict"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_TENSOR_BEFORE = "torch._utils _rebuild_tensor"
_PARAMETER = "torch._utils _rebuild_parameter"
_NAMES = (*STORAGES, _DICTIONARY, _TENSOR, _TENSOR_BEFORE, _PARAMETER)
_VALUES = ("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_KEPT = ("BINPUT", "LONG_BINPUT")
_FETCHED = ("BINGET", "LONG_BINGET")
_SHOWN = 80
_BEYOND = 2**48
_MARK = object()


@dataclasses.dataclass(frozen=True)
class Storage:
    """Where a tensor's values are: `numel` of them, of NumPy's type `dtype`, under `key`."""

    key: str
    dtype: Any
    numel: int


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """A tensor in a storage; `offset` and `strides` count values, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Name:
    name: str


def read_pickle(file: BinaryIO) -> Any:
    """Reads one pickle.

    Args:
      file: where it begins; afterwards, where it has ended.

    Returns:
      What it holds: numbers, texts, tuples, lists, dictionaries of texts, and `StoredTensor`s.

    Raises:
      ValueError: it is damaged, or holds anything else.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(file):
            machine.step(opcode.name, argument)
        return machine.pop()
    except (IndexError, KeyError, TypeError, RecursionError, MemoryError, struct.error) as error:
        raise ValueError(f"its pickle is damaged ({type(error).__name__})") from error


class _Machine:
    """A pickle's stack and memo."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise ValueError("its pickle is damaged")
        return value

    def step(self, opcode: str, argument: Any) -> None:
        push = self._stack.append
        if opcode in ("PROTO", "STOP"):
            return
        if opcode in _VALUES:
            push(argument)
        elif opcode in _CONSTANTS:
            push(_CONSTANTS[opcode])
        elif opcode in _EMPTY:
            push(_EMPTY[opcode]())
        elif opcode == "MARK":
            push(_MARK)
        elif opcode == "TUPLE":
            push(tuple(self._pop_mark()))
        elif opcode in _TUPLES:
            push(tuple(reversed([self.pop() for _ in range(_TUPLES[opcode])])))
        elif opcode in _KEPT:
            self._memo[argument] = self._stack[-1]
        elif opcode in _FETCHED:
            push(self._memo[argument])
        elif opcode == "GLOBAL":
            push(_named(argument))
        elif opcode == "BINPERSID":
            push(_storage(self.pop()))
        elif opcode == "REDUCE":
            arguments, function = self.pop(), self.pop()
            push(_made(function, arguments))
        else:
            self._fill(opcode)

    def _fill(self, opcode: str) -> None:
        """Puts values into the dictionary or list below them."""
        if opcode in ("SETITEM", "SETITEMS"):
            items = self._pop_mark() if opcode == "SETITEMS" else [self.pop(), self.pop()][::-1]
            target = _checked(self._stack[-1], dict)
            for key, value in zip(items[::2], items[1::2], strict=True):
                if not isinstance(key, str):
                    raise ValueError("its pickle has a dictionary whose keys are no texts")
                if key in target:
                    raise ValueError(f"its pickle holds {key[:_SHOWN]!r} twice")
                target[key] = value
        elif opcode in ("APPEND", "APPENDS"):
            items = self._pop_mark() if opcode == "APPENDS" else [self.pop()]
            _checked(self._stack[-1], list).extend(items)
        elif opcode == "BUILD":  # A state dictionary's `_metadata`: versions of torch's classes.
            self.pop()
            _checked(self._stack[-1], dict)
        else:
            raise ValueError(f"its pickle holds what no tensors need: the opcode {opcode}")

    def _pop_mark(self) -> list[Any]:
        values = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]


def _named(name: str) -> _Name:
    if name not in _NAMES:
        raise ValueError(
            f"its pickle names {name[:_SHOWN].replace(' ', '.')!r}, which holds no weights of an "
            "adapter and may be code. It is not loaded, and nothing of it was run"
        )
    return _Name(name)


def _storage(found: Any) -> Storage:
    """Makes ("storage", type, key, device, number of values) a storage."""
    kind, dtype, key, _, numel, *view = _checked(found, tuple)
    if kind != "storage" or view not in ([], [None]) or not isinstance(dtype, _Name):
        raise ValueError("its pickle refers to something that is no storage of tensors")
    (numel,) = _sizes((numel,))
    return Storage(_checked(key, str), STORAGES[dtype.name], numel)


def _made(function: Any, arguments: Any) -> Any:
    name = _checked(function, _Name).name
    if name == _DICTIONARY and arguments == ():
        return {}
    if name == _PARAMETER:
        return _checked(_checked(arguments, tuple)[0], StoredTensor)
    if name not in (_TENSOR, _TENSOR_BEFORE):
        raise ValueError(f"its pickle makes a {name.replace(' ', '.')} of what it cannot be made")
    storage, offset, shape, strides = _checked(arguments, tuple)[:4]
    (offset,) = _sizes((offset,))
    return StoredTensor(_checked(storage, Storage), offset, _sizes(shape), _sizes(strides))


def _sizes(values: Any) -> tuple[int, ...]:
    if not all(type(number) is int and 0 <= number < _BEYOND for number in _checked(values, tuple)):
        raise ValueError("its pickle tells a tensor's place in numbers that it cannot have")
    return values


def _checked(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"its pickle is damaged: a {kind.__name__} was to be there")
    return value


def write_pickle(tensors: Mapping[str, np.ndarray]) -> bytes:
    """Returns the pickle of a state dictionary, as torch writes it.

    Args:
      tensors: float32 arrays in C order; the storage of the i-th has the key `str(i)`.
    """
    parts = [b"\x80\x02" + _global(_DICTIONARY) + b")R("]
    for index, (name, value) in enumerate(tensors.items()):
        strides = [stride // value.itemsize for stride in value.strides]
        place = _text("storage") + _global("torch FloatStorage") + _text(str(index)) + _text("cpu")
        parts += [
            _text(name) + _global(_TENSOR) + b"((" + place + _integers([value.size]) + b"tQ",
            _integers([0]) + b"(" + _integers(value.shape) + b"t(" + _integers(strides) + b"t",
            b"\x89" + _global(_DICTIONARY) + b")RtR",
        ]
    return b"".join([*parts, b"u."])


def _global(name: str) -> bytes:
    return b"c" + name.replace(" ", "\n").encode() + b"\n"


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def _integers(values: Any) -> bytes:
    return b"".join(b"J" + struct.pack("<i", value) for value in values)
