import json
import shutil
import types

import pytest

KINDS = ("hugging_face", "tf1", "model_garden", "saved_model")


def write_hugging_face(folder, values, config):
    """Writes arrays, or what else safetensors can hold, by the names of `encoder_variables`."""
    import safetensors.numpy

    from keras_adapters.converters.names import hugging_face_name

    tensors = {}
    for name, value in values.items():
        ours = name.startswith(("embeddings", "layer_", "pooler"))
        value = value.T.copy() if name.endswith("/kernel") else value
        tensors[hugging_face_name(name) if ours else name] = value
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")


def write_tf1(folder, values, config):
    import tensorflow as tf

    from keras_adapters.converters.names import google_name

    folder.mkdir(exist_ok=True)
    (folder / "bert_config.json").write_text(json.dumps(config))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in values.items():
            ours = name.startswith(("embeddings", "layer_", "pooler"))
            name = f"bert/{google_name(name)}" if ours else name
            tf.compat.v1.get_variable(name, initializer=value, use_resource=False)
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(folder / "bert_model.ckpt"))


def write_object_graph(prefix, values):
    """Writes a TensorFlow 2 checkpoint of objects with the attributes of a BertEncoderV2."""
    import tensorflow as tf

    from keras_adapters.converters.object_graph import _PARTS, _PARTS_OF_BLOCK

    encoder = tf.Module()
    for name, value in values.items():
        layer, _, leaf = name.rpartition("/")
        if name in _PARTS:  # An embedding table has the name of its layer.
            path = (_PARTS[name], "embeddings")
        elif layer in _PARTS or layer == "pooler":
            path = ({**_PARTS, "pooler": "_pooler_layer"}[layer], leaf)
        elif name.startswith("layer_"):
            block, _, part = layer.partition("/")
            path = ("_transformer_layers", block.removeprefix("layer_"), *_PARTS_OF_BLOCK[part])
            path = (*path, leaf)
        else:
            path = tuple(name.split("/"))
        node = encoder
        for attribute in path[:-1]:
            if not hasattr(node, attribute):
                setattr(node, attribute, tf.Module())
            node = getattr(node, attribute)
        setattr(node, path[-1], tf.Variable(value))
    tf.train.Checkpoint(encoder=encoder).write(str(prefix))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory, odd):
    """One small encoder in a folder of each format, and what writes others of the kind.

    `write` takes arrays by the names of `encoder_variables`, with attention's two axes as one
    in the first two formats; other names stand in the file as they are. Those of a SavedModel
    replace the checkpoint inside it.
    """
    import numpy as np
    import tf_keras

    from keras_adapters.converters.shapes import flat
    from keras_adapters.variables import encoder_variables

    encoder = odd.encoder()
    values = {name: v.numpy() for name, v in encoder_variables(encoder).items()}
    merged = {name: v.reshape(flat(name, v.shape)) for name, v in values.items()}
    root = tmp_path_factory.mktemp("tiny")
    inputs = {n: tf_keras.Input((None,), dtype="int32", name=n) for n in encoder.inputs}
    exported = root / "exported"
    tf_keras.Model(inputs, encoder(inputs)).save(
        exported, include_optimizer=False, save_format="tf"
    )

    def write(kind, folder, values=None, config=odd.config):
        if kind == "hugging_face":
            write_hugging_face(folder, values, config)
        elif kind == "tf1":
            write_tf1(folder, values, config)
        elif kind == "model_garden":
            write_object_graph(folder / "ckpt", values)
            (folder / "bert_config.json").write_text(json.dumps(config))
        else:
            shutil.copytree(exported, folder)
            if values is not None:
                write_object_graph(folder / "variables" / "variables", values)
        place = folder / "assets" if kind == "saved_model" else folder
        place.mkdir(exist_ok=True)
        (place / "vocab.txt").write_text("\n".join(odd.uncased) + "\n", encoding="utf-8")
        return folder

    def of(kind):
        return merged if kind in ("hugging_face", "tf1") else values

    folders = {kind: write(kind, root / kind, of(kind)) for kind in KINDS[:3]}
    folders["saved_model"] = write("saved_model", root / "saved_model")

    def assert_same(loaded):
        found = encoder_variables(loaded)
        assert found.keys() == values.keys()
        for name, value in values.items():
            np.testing.assert_array_equal(found[name].numpy().ravel(), value.ravel())

    return types.SimpleNamespace(
        encoder=encoder, values=of, folders=folders, write=write, assert_same=assert_same
    )
