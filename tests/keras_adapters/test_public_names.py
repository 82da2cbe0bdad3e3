"""What `import keras_adapters` promises, each time in a process of its own."""

import json
import os
import subprocess
import sys
import zipfile

import pytest

import keras_adapters

JAX = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}


def run(program, *args, **environment):
    """Runs a program and returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, args)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_names():
    assert set(keras_adapters.__all__) >= {
        *("AdapterConfig", "AdapterFileError", "BertPreprocessor", "BottleneckAdapter", "METHODS"),
        *(
            "Method",
            "MultiTaskModel",
            "adapter_hub",
            "adapt",
            "adapter_summary",
            "add_adapters",
            "count_parameters",
        ),
        *("load_adapter", "load_encoder", "model_garden", "read_metadata", "remove_adapter"),
        *("save_adapter", "set_trainable"),
    }
    for name in keras_adapters.__all__:
        assert getattr(keras_adapters, name) is not None
        assert name in dir(keras_adapters)
    with pytest.raises(AttributeError, match="no_such_name"):
        keras_adapters.no_such_name  # noqa: B018


def test_settings_need_no_keras_and_no_tensorflow():
    run(
        """
import sys
import keras_adapters as ka
ka.Method.of(ka.AdapterConfig(8)), ka.METHODS
loaded = {"keras", "tf_keras", "tensorflow", "jax", "official", "numpy"} & set(sys.modules)
assert not loaded, loaded
"""
    )


def test_keras_3_on_jax_needs_neither_tensorflow_nor_its_models():
    run(
        """
import sys
for name in ("tensorflow", "tf_keras", "official"):
    sys.modules[name] = None  # As if they were not installed.
import keras_adapters as ka
import keras
config = ka.AdapterConfig(8)
model = keras.Sequential([keras.Input((16,)), ka.BottleneckAdapter(config.size)])
assert model(keras.ops.ones((2, 16))).shape == (2, 16)
assert ka.Method.of("full").name == "full"
""",
        **JAX,
    )


# Where the classes were when older files were written.
FORMER = {
    "keras_adapters.keras3": "keras_adapters.bottleneck",
    "keras_adapters.model_garden.adapted": "keras_adapters.splice",
}


def make_old(path, target):
    """Writes a `.keras` file as it was when the classes lived in other modules."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as written:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                text = content.decode()
                for new, old in FORMER.items():
                    text = text.replace(f'"{new}"', f'"{old}"')
                settings = json.loads(text)
                for layer in settings["config"]["layers"]:
                    if layer["class_name"].startswith("Adapted"):
                        method = json.loads(layer["config"].pop("method"))
                        del layer["config"]["frozen"], method["insertion"]["type"]
                        layer["config"]["adapter_config"] = json.dumps(method["insertion"])
                content = json.dumps(settings).encode()
            written.writestr(name, content)


ORDERS = pytest.mark.parametrize("ours_first", [True, False])


@pytest.fixture(scope="module")
def written_by_keras_3(tmp_path_factory):
    """A `.keras` file with the layer, and one as it was before."""
    import keras

    folder = tmp_path_factory.mktemp("keras")
    inputs = keras.Input((5, 8))
    layer = keras_adapters.BottleneckAdapter(4, trainable=False)
    keras.Model(inputs, layer(inputs)).save(folder / "new.keras")
    make_old(folder / "new.keras", folder / "old.keras")
    return folder / "new.keras", folder / "old.keras"


@pytest.fixture(scope="module")
def written_by_tf_keras(tmp_path_factory):
    """A model with an adapted encoder in each of the forms, and how many of its variables train."""
    import tf_keras
    from official.nlp.modeling import networks

    folder = tmp_path_factory.mktemp("tf_keras")
    # With its default activation, a lambda.
    encoder = networks.BertEncoderV2(50, 16, 1, 2, 32, 2, 24)
    keras_adapters.adapt(encoder, keras_adapters.AdapterConfig(4))
    hidden = encoder(encoder.inputs)["sequence_output"]
    hidden = keras_adapters.model_garden.BottleneckAdapter(4, trainable=False)(hidden)
    model = tf_keras.Model(encoder.inputs, hidden)
    paths = [folder / name for name in ("new.keras", "saved_model", "model.h5", "old.keras")]
    for path in paths[:-1]:
        model.save(path)
    make_old(paths[0], paths[-1])
    return paths, encoder


@ORDERS
def test_import_alone_is_enough_to_load_what_keras_3_wrote(ours_first, written_by_keras_3):
    imports = ["import keras_adapters", "import keras"][:: 1 if ours_first else -1]
    program = [
        "import sys",
        *imports,
        "for path in sys.argv[1:]:",
        "    layer = keras.saving.load_model(path).layers[-1]",
        "    assert type(layer) is keras_adapters.BottleneckAdapter, type(layer)",
        "    assert not layer.trainable_variables",
        "assert 'official' not in sys.modules",
    ]
    run("\n".join(program), *written_by_keras_3, **JAX)


@ORDERS
def test_import_alone_is_enough_to_load_what_tf_keras_wrote(ours_first, written_by_tf_keras):
    paths, encoder = written_by_tf_keras
    imports = ["import keras_adapters", "import tf_keras"][:: 1 if ours_first else -1]
    program = [
        "import sys",
        *imports,
        "for path in sys.argv[1:]:",
        "    *_, encoder, adapter = tf_keras.models.load_model(path).layers",
        "    assert type(encoder).__name__ == 'AdaptedBertEncoderV2', type(encoder)",
        "    assert type(adapter) is keras_adapters.model_garden.BottleneckAdapter, type(adapter)",
        "    assert encoder.adapter_config == keras_adapters.AdapterConfig(4)",
        "    assert not adapter.trainable_variables",
        "    print(len(encoder.trainable_variables))",
    ]
    *trained, all_of_old = map(int, run("\n".join(program), *paths).split())
    assert trained == [len(encoder.trainable_variables)] * 3
    # Older files do not say what was frozen.
    assert all_of_old == len(encoder.variables)


def test_every_class_of_an_adapted_encoder_is_registered():
    from keras_adapters.model_garden.adapted import ADAPTED
    from keras_adapters.registration import HOMES

    names = {cls.__name__ for cls in ADAPTED.values()}
    assert set(HOMES["tf_keras"]) == names | {"BottleneckAdapter"}
