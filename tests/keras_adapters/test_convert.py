import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from keras_adapters import convert
from keras_adapters.adapter_file import AdapterFile, read_adapter, write_adapter
from keras_adapters.adapter_hub import read_adapter_hub
from keras_adapters.fingerprint import Base
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method

NORM = "layer_0/attention/layer_norm/gamma"


@pytest.fixture
def theirs(fixtures, tmp_path):
    """A folder that the real package wrote, and the encoder it was trained in."""
    folder = shutil.copytree(fixtures / "adapter_hub" / "pickle", tmp_path / "theirs")
    return folder, fixtures / "adapter_hub" / "encoder"


@pytest.fixture
def ours(fixtures, tmp_path):
    """The same adapter in our format, in a base of no weights, with one LayerNorm besides."""
    base = Base({"family": "bert", "layers": 2, "norm_first": False}, {"embeddings/word": "0" * 64})
    read = read_adapter_hub(fixtures / "adapter_hub" / "pickle", base)
    method = Method(AdapterConfig(4, "swish"), "layer_norms")
    tensors = {**read.tensors, NORM: np.ones(16, "float32")}
    write_adapter(tmp_path / "ours", AdapterFile(method, base, tensors, read.metadata))
    return tmp_path / "ours"


def fails(capsys, *arguments):
    """The one line that the command ends with."""
    with pytest.raises(SystemExit) as caught:
        convert.main([str(argument) for argument in arguments])
    assert capsys.readouterr().out == ""
    assert str(caught.value).startswith("error: ")
    return str(caught.value)


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_there_and_back(theirs, tmp_path, capsys):
    import keras_adapters as ka
    from keras_adapters.original import base_of

    folder, encoder = theirs
    convert.main([str(folder), str(tmp_path / "ours"), f"--base={encoder}"])
    assert capsys.readouterr().out == f"wrote {tmp_path / 'ours'}\n"
    adapter = read_adapter(tmp_path / "ours")
    assert adapter.base == base_of(ka.load_encoder(encoder))
    assert adapter.metadata["labels"] == ["acq", "earn", "grain"]
    convert.main([str(tmp_path / "ours"), str(tmp_path / "back"), "--name=mine"])
    # The folder knows its base, and the model's name is that of a folder.
    config = tmp_path / "back" / "adapter_config.json"
    settings = json.loads(config.read_text())
    assert settings["name"] == "mine"
    settings["model_name"] = str(encoder)
    config.write_text(json.dumps(settings))
    convert.main([str(tmp_path / "back"), str(tmp_path / "again")])
    again = read_adapter(tmp_path / "again")
    assert (again.method, again.base, again.metadata) == (
        adapter.method,
        adapter.base,
        adapter.metadata,
    )
    for name, value in adapter.tensors.items():
        np.testing.assert_array_equal(again.tensors[name], value)


def test_drops_by_name(ours, tmp_path, capsys):
    assert "drop 'layer_norms'" in fails(capsys, ours, tmp_path / "out")
    assert "must hold only" in fails(capsys, ours, tmp_path / "out", "--drop=")
    assert "no base here" in fails(capsys, ours, tmp_path / "out", "--drop=layer_norms,base")
    assert not (tmp_path / "out").exists()
    convert.main([str(ours), str(tmp_path / "out"), "--drop=layer_norms", "--drop=head"])
    assert not (tmp_path / "out" / "head_config.json").exists()


def test_the_base_must_be_told_and_fit(theirs, fixtures, tmp_path, minilm, capsys):
    folder, _ = theirs
    for flags, message in (
        ((), "--base=FOLDER"),
        ((f"--base={minilm.folder}",), "`hidden_size` 16"),
        ((f"--base={tmp_path}",), "no BERT encoder"),
        ((f"--base={tmp_path / 'none'}",), "no such folder"),
    ):
        assert message in fails(capsys, folder, tmp_path / "out", *flags)
    encoder = shutil.copytree(fixtures / "adapter_hub" / "encoder", tmp_path / "encoder")
    config = json.loads((encoder / "config.json").read_text())
    (encoder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    error = fails(capsys, folder, tmp_path / "out", f"--base={encoder}")
    assert "missing: encoder.layer.2" in error
    assert not (tmp_path / "out").exists()


def test_flags_of_the_other_direction(theirs, ours, tmp_path, capsys):
    for flag in ("--name=a", "--base_model=a"):
        assert flag.partition("=")[0] in fails(capsys, theirs[0], tmp_path / "out", flag)
    assert "--base is" in fails(capsys, ours, tmp_path / "out", f"--base={theirs[1]}")
    error = fails(capsys, theirs[0], tmp_path / "out", f"--base={theirs[1]}", "--drop=layer_norms")
    assert "layer_norms" in error


def test_what_stands_at_the_output_stays(theirs, ours, tmp_path, capsys):
    folder, encoder = theirs
    (tmp_path / "file").write_text("mine")
    shutil.copytree(folder, tmp_path / "other")
    before = tree(tmp_path)
    outputs = [tmp_path / "file", folder, folder / ".." / "theirs", tmp_path, tmp_path / "other"]
    for output in outputs:
        fails(capsys, folder, output, f"--base={encoder}")
    shutil.copytree(ours, tmp_path / "second")
    before |= tree(tmp_path)
    for output in (tmp_path / "file", ours, tmp_path, tmp_path / "second"):
        fails(capsys, ours, output, "--drop=layer_norms")
        fails(capsys, ours / "adapter.safetensors", output, "--drop=layer_norms")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("content", [None, "{}", "[", '{"model_type": "bert"}'])
def test_wrong_input_needs_no_tensorflow(content, tmp_path):
    if content is not None:
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "adapter_config.json").write_text(content)
    code = (
        "import sys\n"
        "from keras_adapters.convert import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    assert not {'tensorflow', 'tf_keras', 'keras', 'torch'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "in"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
