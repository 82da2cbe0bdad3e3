"""What docs/adapter_file.md says, held against a file that was written."""

import dataclasses
import hashlib
import json
import pathlib
import re

import numpy as np

from keras_adapters.adapter_file import FILE, AdapterFile, write_adapter
from keras_adapters.fingerprint import Base, digest
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method

TEXT = (pathlib.Path(__file__).parents[2] / "docs" / "adapter_file.md").read_text("utf-8")


def keys_in(section):
    body = TEXT.split(f"## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", body, re.M)


def test_the_documented_format_is_what_is_written(tmp_path):
    bias = np.array([1, 2, 3], "float32")
    base = Base({"family": "bert"}, {"pooler/bias": digest(bias)})
    method = Method(AdapterConfig(4))
    write_adapter(tmp_path, AdapterFile(method, base, {"head/logits/bias": bias}))
    content = (tmp_path / FILE).read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    about = header["__metadata__"]
    assert set(about) == set(keys_in("The header"))
    described = json.loads(about["keras_adapters"])
    assert list(described) == keys_in("The description")
    assert f'`"{described["format"]}"`' in TEXT
    assert f"| `version` | `{described['version']}` |" in TEXT
    for fields in (described["method"], described["base"], *map(dataclasses.asdict, [method])):
        assert all(f"`{name}`" in TEXT for name in fields)
    assert all(f"`{name}`" in TEXT for name in described["method"]["insertion"])
    assert base.digests["pooler/bias"] == hashlib.sha256(b"[3]" + bias.tobytes()).hexdigest()
    sorted_base = json.dumps(described["base"], sort_keys=True)
    assert base.fingerprint == hashlib.sha256(sorted_base.encode()).hexdigest()
    example = rb"\0head/logits/bias\0float32[3]\0"
    assert example.decode() in TEXT
    hashed = about["keras_adapters"].encode() + example.replace(rb"\0", b"\0") + bias.tobytes()
    assert about["sha256"] == hashlib.sha256(hashed).hexdigest()
