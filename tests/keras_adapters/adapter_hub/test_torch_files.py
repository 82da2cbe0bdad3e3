import io
import os
import pickle
import pickletools
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest

from keras_adapters.adapter_hub.torch_files import read_torch, write_torch

TENSORS = {
    "a.weight": np.arange(6, dtype="float32").reshape(2, 3),
    "ü.bias": np.array([1.5, -2], "float32"),
}


def archive(records, compression=zipfile.ZIP_STORED, root="archive"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, record in records.items():
            file.writestr(f"{root}/{name}", record)
    return buffer.getvalue()


def records_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name.partition("/")[2]: file.read(name) for name in file.namelist()}


def with_pickle(data):
    return archive({**records_of(write_torch(TENSORS)), "data.pkl": data})


class Bomb:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def assert_same(found, wanted):
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)


def test_reads_what_it_writes_and_writes_the_same_again():
    content = write_torch(TENSORS)
    assert_same(read_torch(content), TENSORS)
    assert write_torch(TENSORS) == content


def test_reads_torchs_files_of_both_formats(hub):
    new = read_torch((hub.folder / "pickle" / "pytorch_adapter.bin").read_bytes())
    assert new["bert.encoder.layer.1.output.adapters.pickle.adapter_up.weight"].shape == (16, 4)
    old = (hub.folder / "old" / "pytorch_adapter.bin").read_bytes()
    assert not old.startswith(b"PK")
    assert len(read_torch(old)) == 16


def test_writes_what_torch_writes(hub):
    """In the order of torch's own pickle, which says what comes again by its place only."""
    theirs = (hub.folder / "pickle" / "pytorch_model_head.bin").read_bytes()
    ours = write_torch(read_torch(theirs))
    # Torch was given a plain dictionary, and writes an ordered one for ours.
    assert arguments_of(ours)[1:] == arguments_of(theirs)
    assert set(records_of(ours)) <= set(records_of(theirs))
    for name in ("version", "byteorder", "data/0", "data/1"):
        assert records_of(ours)[name] == records_of(theirs)[name]


def arguments_of(content):
    memo, found, last = {}, [], None
    for opcode, argument, _ in pickletools.genops(records_of(content)["data.pkl"]):
        if opcode.name == "BINPUT":
            memo[argument] = last
        elif opcode.name == "BINGET":
            found.append(memo[argument])
        else:
            last = argument
            found += [argument] if argument is not None and opcode.name != "PROTO" else []
    return found


@pytest.mark.parametrize(
    ("storage", "dtype"),
    [
        ("HalfStorage", np.float16),
        ("BFloat16Storage", ml_dtypes.bfloat16),
        ("DoubleStorage", np.float64),
    ],
)
@pytest.mark.parametrize("order", ["little", "big"])
def test_reads_other_types_and_byte_orders(storage, dtype, order):
    records = records_of(write_torch(TENSORS))
    records["data.pkl"] = records["data.pkl"].replace(b"FloatStorage", storage.encode())
    records["byteorder"] = order.encode()
    for index, value in enumerate(TENSORS.values()):
        raw = value.astype(dtype).view(f"u{np.dtype(dtype).itemsize}")
        records[f"data/{index}"] = (raw.byteswap() if order == "big" else raw).tobytes()
    wanted = {name: value.astype(dtype) for name, value in TENSORS.items()}
    assert_same(read_torch(archive(records, root="any name")), wanted)


def test_reads_transposed_and_shared_storages():
    data = records_of(write_torch({"a": np.arange(6, dtype="float32").reshape(2, 3)}))["data.pkl"]

    def place(offset, shape, strides):
        packed = [b"".join(b"J" + struct.pack("<i", n) for n in v) for v in (shape, strides)]
        return b"J" + struct.pack("<i", offset) + b"(" + b"t(".join(packed) + b"t"

    usual = place(0, (2, 3), (3, 1))
    assert data.count(usual) == 1
    swapped = data.replace(usual, place(1, (3, 1), (1, 9)))
    records = {"data.pkl": swapped, "data/0": np.arange(6, dtype="<f4").tobytes(), "version": b"3"}
    np.testing.assert_array_equal(read_torch(archive(records))["a"], [[1], [2], [3]])


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
@pytest.mark.parametrize("wrapped", [True, False])
def test_runs_no_code(protocol, wrapped, tmp_path):
    target = tmp_path / "ran"
    bombs = [
        Bomb(os.system, f"touch {target}"),
        Bomb(eval, f"open({str(target)!r}, 'w')"),
        Bomb(os.mkdir, str(target)),
    ]
    for bomb in bombs:
        data = pickle.dumps({"a": bomb} if wrapped else bomb, protocol)
        sequence = b"".join(map(pickle.dumps, (0x1950A86A20F9469CFC6C, 1001, {}))) + data
        for content in (with_pickle(data), data, sequence):
            with pytest.raises(ValueError, match=r"pickle|no file of torch's"):
                read_torch(content)
    assert not target.exists()


def test_names_the_code_that_it_refuses():
    with pytest.raises(ValueError, match=r"names 'posix\.system', which holds no weights"):
        read_torch(with_pickle(pickle.dumps({"a": Bomb(os.system, "true")}, 2)))
    for name in ("torch.nn.modules.linear Linear", "torch LongStorage", "builtins getattr"):
        data = b"\x80\x02c" + name.replace(" ", "\n").encode() + b"\n)R."
        with pytest.raises(ValueError, match="nothing of it was run"):
            read_torch(with_pickle(data))


OK = records_of(write_torch(TENSORS))["data.pkl"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"\x80\x02.",
        b"\x80\x02(.",
        b"\x80\x02].",
        OK[:-1],
        OK[: len(OK) // 2],
        OK + OK,
        OK.replace("ü.bias".encode(), b"\xff\xff.bias"),
        OK.replace(b"X\x07\x00\x00\x00" + "ü.bias".encode(), b"X\x08\x00\x00\x00a.weight"),
        # A tensor of billions of rows, one of fewer than none, one beyond its storage.
        OK.replace(b"J\x02\x00\x00\x00", b"J\xff\xff\xff\x7f"),
        OK.replace(b"J\x02\x00\x00\x00", b"J\xff\xff\xff\xff"),
        OK.replace(b"J\x00\x00\x00\x00", b"J\x01\x00\x00\x00"),
        OK.replace(b"storage", b"storagf"),
        OK.replace(b"X\x01\x00\x00\x001", b"X\x01\x00\x00\x009"),
        b"\x80\x02" + b"(" * 100_000 + b".",
        b"\x80\x02)" + b"\x85" * 100_000 + b".",
    ],
)
def test_refuses_damaged_pickles(data):
    assert data != OK
    with pytest.raises(ValueError, match=r"."):
        read_torch(with_pickle(data))


def test_remembers_billions_of_places_in_no_memory():
    assert read_torch(with_pickle(b"\x80\x02}r\xff\xff\xff\x7f(u.")) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data.pkl": None}, "has no data.pkl"),
        ({"data/1": None}, "ü.bias lies beyond its storage"),
        ({"data/1": b"\0" * 4}, "ü.bias lies beyond its storage"),
        ({"byteorder": b"middle"}, "byteorder"),
    ],
)
def test_refuses_other_archives(change, message):
    records = {**records_of(write_torch(TENSORS)), **change}
    records = {name: record for name, record in records.items() if record is not None}
    with pytest.raises(ValueError, match=message):
        read_torch(archive(records))


def test_refuses_packed_archives_two_folders_and_names_twice():
    records = records_of(write_torch(TENSORS))
    with pytest.raises(ValueError, match=r"packed|one folder"):
        read_torch(archive(records, zipfile.ZIP_DEFLATED))
    buffer = io.BytesIO(write_torch(TENSORS))
    with zipfile.ZipFile(buffer, "a") as file:
        file.writestr("other/data.pkl", b"")
    with pytest.raises(ValueError, match="one folder"):
        read_torch(buffer.getvalue())
    buffer = io.BytesIO(write_torch(TENSORS))
    with zipfile.ZipFile(buffer, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("archive/data/0", b"\0" * 24)
    with pytest.raises(ValueError, match="twice"):
        read_torch(buffer.getvalue())


@pytest.mark.parametrize("name", ["pickle", "old"])
def test_damage_raises_nothing_but_value_errors(name, hub):
    content = (hub.folder / name / "pytorch_model_head.bin").read_bytes()
    wanted = read_torch(content)
    rng = np.random.default_rng(0)
    for _ in range(400):
        damaged = bytearray(content)
        for place in rng.integers(len(content), size=rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        cut = damaged[: rng.integers(1, len(content))] if rng.random() < 0.2 else damaged
        try:
            found = read_torch(bytes(cut))
        except ValueError:
            continue
        if name == "pickle" and found.keys() == wanted.keys():  # Its storages are checked sums.
            for key in found:
                assert sorted(found[key].ravel()) == sorted(wanted[key].ravel())
