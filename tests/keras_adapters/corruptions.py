"""Damages adapter files in all the ways that a disk, a program or an adversary may.

Each kind is a function of a random generator and of a good folder's files, `{name: bytes}`;
it returns those of a damaged one. What is made of the same seed is the same.
"""

import hashlib
import json
import math

import ml_dtypes
import numpy as np

FILE, OLD = "adapter.safetensors", "adapter.json"
TYPES = {
    **{"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "bool": "BOOL"},
    **{
        f"{kind}int{n}": f"{letter}{n}"
        for kind, letter in (("", "I"), ("u", "U"))
        for n in (8, 16, 32, 64)
    },
    "complex64": "C64",
}


def split(content):
    """Returns a file's header and its data."""
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def join(header, data):
    """Returns the file of a header, an object or the text of one, and its data."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return len(text).to_bytes(8, "little") + text + data


def arrays(content):
    """Returns a file's tensors, read by no code of the library."""
    header, data = split(content)
    names = {short: name for name, short in TYPES.items()}
    made = {}
    for name, entry in header.items():
        if name != "__metadata__":
            dtype = names[entry["dtype"]]
            dtype = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
            start, end = entry["data_offsets"]
            made[name] = np.frombuffer(data[start:end], dtype).reshape(entry["shape"])
    return made


def build(tensors, about=None):
    """Returns the file of tensors and of what its `__metadata__` is."""
    header, data = {} if about is None else {"__metadata__": about}, b""
    for name, value in tensors.items():
        raw = np.ascontiguousarray(value).tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {
            "dtype": TYPES[value.dtype.name],
            "shape": list(value.shape),
            "data_offsets": offsets,
        }
        data += raw
    return join(header, data)


def checksum(description, tensors):
    """The checksum as the format's documentation tells it."""
    text = description.encode()
    for name, value in sorted(tensors.items()):
        text += f"\0{name}\0{value.dtype.name}{list(value.shape)}\0".encode()
        text += np.ascontiguousarray(value).tobytes()
    return hashlib.sha256(text).hexdigest()


def made_right(description, tensors):
    """A file of another description and other tensors whose checksum is right."""
    about = {"keras_adapters": description, "sha256": checksum(description, tensors)}
    return {FILE: build(tensors, about)}


# Of bytes, whatever they mean.


def bits(rng, content):
    content = bytearray(content)
    for _ in range(rng.integers(1, 9)):
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    return bytes(content)


def one_bit_of_the_header(rng, content):
    size = int.from_bytes(content[:8], "little")
    return bits(rng, content[: 8 + size]) + content[8 + size :]


def bytes_zeroed(rng, content):
    start = rng.integers(len(content))
    return content[:start] + bytes(len(content[start : start + 64])) + content[start + 64 :]


def truncated(rng, content):
    return content[: rng.integers(len(content))]


def extended(rng, content):
    more = rng.bytes(rng.integers(1, 100))
    return [content + more, more + content, content + content, content + bytes(8)][rng.integers(4)]


def moved(rng, content):
    one, two = sorted(rng.integers(len(content), size=2))
    return content[:one] + content[two:] + content[one:two]


def bytes_dropped(rng, content):
    start = rng.integers(len(content))
    return content[:start] + content[start + rng.integers(1, 9) :]


def header_length(rng, content):
    size = int.from_bytes(content[:8], "little")
    sizes = [0, 1, size - 1, size + 1, 2 * size, len(content), 10**8, 2**40, 2**63, 2**64 - 1]
    return int(rng.choice(np.array(sizes, np.uint64))).to_bytes(8, "little") + content[8:]


def another_file(rng, content):
    return [b"", b"{}", b"\x80\x04K\x01.", rng.bytes(5000), join({}, b"")][rng.integers(5)]


# Of JSON.

RAW = (
    *("NaN", "Infinity", "-Infinity", "1e400", "1e-400", "-0", "1.5", "2", "2.0", "true", "null"),
    *('""', '"\\ud800"', '"\\u0000"', '"../../etc/passwd"', "[]", "{}", "[null]", '{"": 0}', "-1"),
    *("9" * 400, "9" * 4300, "9" * 5000, "2147483647", "2147483648", str(2**64), '"float32"'),
    *('"' + "x" * 100_000 + '"', "[" + "0," * 20_000 + "0]", '{"type": "bottleneck"}'),
    *("[" * depth + "]" * depth for depth in (60, 120, 300, 800, 950, 990, 3_000, 200_000)),
    *('{"a":' * depth + "0" + "}" * depth for depth in (60, 120, 300, 800, 950, 990, 200_000)),
)


def places(value, path=()):
    """Yields the path of each value in an object, the object's own first."""
    yield path
    inner = value.items() if isinstance(value, dict) else ()
    for key, held in enumerate(value) if isinstance(value, list) else inner:
        yield from places(held, (*path, key))


def edited(rng, value):
    """Returns the text of an object in which a field is dropped, retyped, nested or doubled."""
    value = json.loads(json.dumps(value))
    # Each of the upper fields as often as the others, whatever lies in them.
    top = list(value)[rng.integers(len(value))]
    paths = [path for path in places(value[top], (top,)) if "digests" not in path[:-1]]
    path = paths[rng.integers(len(paths))]
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    key, raw = path[-1], RAW[rng.integers(len(RAW))]
    kind = ("drop", "replace", "replace", "replace", "wrap", "rename", "double", "add")
    kind = kind[rng.integers(len(kind))]
    renamed = None
    if kind == "drop":
        del holder[key]
    elif kind == "replace" or not isinstance(holder, dict):
        holder[key] = "@raw"
    elif kind == "wrap":
        holder[key] = [holder[key]] if rng.random() < 0.5 else {"a": holder[key]}
    elif kind == "rename":
        holder[f"{key}_"] = holder.pop(key)
    else:
        renamed = json.dumps(key if kind == "double" else "more")
        holder["@key"] = holder[key] if rng.random() < 0.5 else "@raw"
    text = json.dumps(value).replace('"@raw"', raw)
    return text if renamed is None else text.replace('"@key"', renamed)


def header_edited(rng, content):
    header, data = split(content)
    return join(edited(rng, header), data)


def metadata_edited(rng, content):
    header, data = split(content)
    about = header.pop("__metadata__", {"format": "pt"})
    raw = [None, [], "x", {}, {"keras_adapters": None}, {**about, "more": "x"}, {"sha256": "0"}]
    chosen = rng.integers(len(raw) + 1)
    text = edited(rng, about) if chosen == len(raw) else json.dumps(raw[chosen])
    return join(f'{{"__metadata__": {text}, ' + json.dumps(header)[1:], data)


def an_entry_edited(rng, content):
    header, data = split(content)
    names = [name for name in header if name != "__metadata__"]
    one, two = (header[names[index]] for index in rng.choice(len(names), 2, replace=False))
    kind = rng.integers(6)
    if kind == 0:
        one["data_offsets"], two["data_offsets"] = two["data_offsets"], one["data_offsets"]
    elif kind == 1:
        one["dtype"] = list(TYPES.values())[rng.integers(len(TYPES))]
    elif kind == 2:
        one["shape"] = [one["shape"][::-1], [], [*one["shape"], 1], [2**40, 2**40], [-1], [0]][
            rng.integers(6)
        ]
    elif kind == 3:
        one["data_offsets"] = [int(n) for n in rng.integers(-9, 2 * len(data), size=2)]
    elif kind == 4:
        one["data_offsets"] = [0, 2**45]
        one["shape"] = [2**43]
    else:
        one["data_offsets"] = two["data_offsets"]
    return join(header, data)


def pair_of_one_shape(rng, tensors):
    groups = {}
    for name, value in tensors.items():
        groups.setdefault((value.shape, value.dtype), []).append(name)
    pairs = [group for group in groups.values() if len(group) > 1]
    group = pairs[rng.integers(len(pairs))]
    return [group[index] for index in rng.choice(len(group), 2, replace=False)]


def tensors_changed(rng, tensors):
    """Returns other tensors: swapped, dropped, renamed, added, of other types, shapes, values."""
    tensors = {name: np.array(value) for name, value in tensors.items()}
    names = list(tensors)
    name = names[rng.integers(len(names))]
    value = tensors[name]
    kind = rng.integers(10)
    if kind == 0:
        one, two = pair_of_one_shape(rng, tensors)
        tensors[one], tensors[two] = tensors[two], tensors[one]
    elif kind == 1:
        del tensors[name]
    elif kind == 2:
        ways = (
            f"{name}_",
            f"/{name}",
            name.upper(),
            "head/" + name,
            "",
            "/",
            "head/",
            "../" + name,
        )
        tensors[ways[rng.integers(len(ways))]] = tensors.pop(name)
    elif kind == 3:
        more = ("layer_9/output/bias", "layer_0/output/bias", "head/more", "embeddings/word", "x")
        tensors[more[rng.integers(len(more))]] = value
    elif kind == 4:
        dtype = list(TYPES)[rng.integers(len(TYPES))]
        tensors[name] = value.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    elif kind == 5:
        shapes = (
            value.T,
            value.reshape(-1),
            value[None],
            value[..., :-1],
            value[:0],
            np.array(3.0),
        )
        tensors[name] = shapes[rng.integers(len(shapes))]
    elif kind == 6:
        bad = (math.nan, math.inf, -math.inf)[rng.integers(3)]
        value.reshape(-1)[rng.integers(value.size)] = bad
    elif kind == 7:
        tensors[name] = value.astype("float64") * 1e300  # Finite, but beyond float32.
    elif kind == 8:
        value.reshape(-1)[rng.integers(value.size)] += 1
    else:
        tensors.clear()
    return tensors


def nan_inside(rng, content):
    """Bytes of a tensor overwritten by those of a NaN or an infinity."""
    _, data = split(content)
    size = len(content) - len(data)
    start = size + 4 * int(rng.integers(len(data) // 4))
    bad = np.array([math.nan, math.inf][rng.integers(2)], "<f4").tobytes()
    return content[:start] + bad + content[start + 4 :]


def swapped(rng, content):
    header, data = split(content)
    tensors = arrays(content)
    one, two = pair_of_one_shape(rng, tensors)
    header[one]["data_offsets"], header[two]["data_offsets"] = (
        header[two]["data_offsets"],
        header[one]["data_offsets"],
    )
    return join(header, data)


def wrong_checksum(rng, content):
    header, data = split(content)
    about = header["__metadata__"]
    wrong = [
        "",
        "0" * 64,
        about["sha256"].upper(),
        about["sha256"][:-1],
        hashlib.sha256().hexdigest(),
    ]
    about["sha256"] = wrong[rng.integers(len(wrong))]
    return join(header, data)


def renamed_in_the_header(rng, content):
    header, data = split(content)
    names = [name for name in header if name != "__metadata__"]
    name = names[rng.integers(len(names))]
    return join({(f"{key}_" if key == name else key): v for key, v in header.items()}, data)


OF_BYTES = (bits, bytes_zeroed, truncated, extended, moved, bytes_dropped, another_file)
OF_THE_FILE = (
    *OF_BYTES,
    *(one_bit_of_the_header, header_length, header_edited, metadata_edited, an_entry_edited),
    *(nan_inside, swapped, renamed_in_the_header),
)


# Of a whole folder: the present version, its checksum left as it is or made right, and version 1.


def in_the_file(damage):
    return lambda rng, files: {**files, FILE: damage(rng, files[FILE])}


def in_the_old_description(damage):
    return lambda rng, files: {**files, OLD: damage(rng, files[OLD])}


def description_made_right(rng, files):
    header, _ = split(files[FILE])
    text = edited(rng, json.loads(header["__metadata__"]["keras_adapters"]))
    return made_right(text, arrays(files[FILE]))


def tensors_made_right(rng, files):
    header, _ = split(files[FILE])
    tensors = tensors_changed(rng, arrays(files[FILE]))
    return made_right(header["__metadata__"]["keras_adapters"], tensors)


def both_made_right(rng, files):
    return tensors_made_right(rng, description_made_right(rng, files))


def bytes_of_the_description_made_right(rng, files):
    header, _ = split(files[FILE])
    raw = OF_BYTES[rng.integers(len(OF_BYTES))](
        rng, header["__metadata__"]["keras_adapters"].encode()
    )
    return made_right(raw.decode(errors="replace"), arrays(files[FILE]))


def old_tensors(rng, files):
    return {**files, FILE: build(tensors_changed(rng, arrays(files[FILE])))}


def old_description(rng, files):
    return {**files, OLD: edited(rng, json.loads(files[OLD])).encode()}


def a_file_missing(rng, files):
    return {name: files[name] for name in (FILE, OLD) if name != (FILE, OLD)[rng.integers(2)]}


# By name: whether the damaged folder may be read as what it consistently says, and the function.
PRESENT = {
    **{damage.__name__: (False, in_the_file(damage)) for damage in (*OF_THE_FILE, wrong_checksum)},
    "description, checksum right": (True, description_made_right),
    "tensors, checksum right": (True, tensors_made_right),
    "both, checksum right": (True, both_made_right),
    "bytes of the description, checksum right": (True, bytes_of_the_description_made_right),
}
VERSION_1 = {
    **{f"version 1: {damage.__name__}": (True, in_the_file(damage)) for damage in OF_THE_FILE},
    **{
        f"version 1: {damage.__name__} of {OLD}": (True, in_the_old_description(damage))
        for damage in OF_BYTES
    },
    "version 1: tensors": (True, old_tensors),
    "version 1: description": (True, old_description),
    "version 1: a file missing": (True, a_file_missing),
}
