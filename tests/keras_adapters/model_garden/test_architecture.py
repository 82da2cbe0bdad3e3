"""Two encoders of the same weights differ in their architecture exactly if their outputs do."""

import dataclasses
import functools
import inspect
import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.modeling import activations
from official.nlp.modeling import layers, networks

from keras_adapters import AdapterConfig
from keras_adapters.model_garden import adapt
from keras_adapters.model_garden.hosts.table import HOSTS, host_of
from keras_adapters.variables import encoder_variables

LENGTH = 8
CONSTANT = tf_keras.initializers.Constant(0.1)


@dataclasses.dataclass(frozen=True)
class Row:
    """A tiny encoder, and another value of each argument that its class takes.

    Args:
      base: the arguments of the encoder that the others are held against.
      changes: the function changes, though the variables may be alike.
      stays: the function is the same.
      sizes: the value is the size of a variable's axis, and of no other.
      refused: the host knows no such encoder.
      more: further values that change the function, by the argument.
    """

    base: dict
    changes: dict
    stays: dict
    sizes: dict
    refused: dict = dataclasses.field(default_factory=dict)
    more: tuple = ()


BERT = Row(
    base={
        "vocab_size": 50,
        "hidden_size": 16,
        "num_layers": 2,
        "num_attention_heads": 2,
        "max_sequence_length": LENGTH,
        "type_vocab_size": 3,
        "inner_dim": 24,
        "inner_activation": "gelu",
        "embedding_width": 12,
    },
    changes={
        "num_layers": 1,
        "num_attention_heads": 4,
        "inner_activation": "relu",
        "embedding_layer": functools.partial(layers.OnDeviceEmbedding, 50, 12, scale_factor=2.0),
        "norm_first": True,
    },
    stays={
        "output_dropout": 0.5,
        "attention_dropout": 0.5,
        "initializer": CONSTANT,
        "output_range": 1,
        "return_attention_scores": True,
        "return_word_embeddings": True,
        "kwargs": {"name": "other", "trainable": False},
    },
    sizes={
        "vocab_size": 51,
        "hidden_size": 20,
        "max_sequence_length": 9,
        "type_vocab_size": 5,
        "inner_dim": 26,
        "embedding_width": 14,
    },
    more=(("inner_activation", activations.gelu),),
)
ROWS = {
    networks.BertEncoderV2: dataclasses.replace(
        BERT, stays={**BERT.stays, "with_dense_inputs": True}
    ),
    networks.BertEncoder: dataclasses.replace(
        BERT,
        base={**BERT.base, "dict_outputs": True},
        stays={**BERT.stays, "dict_outputs": False, "return_all_encoder_outputs": True},
    ),
    networks.AlbertEncoder: Row(
        base={
            "vocab_size": 50,
            "embedding_width": 12,
            "hidden_size": 16,
            "num_layers": 2,
            "num_attention_heads": 2,
            "max_sequence_length": LENGTH,
            "type_vocab_size": 3,
            "intermediate_size": 24,
            "activation": "gelu",
            "dict_outputs": True,
        },
        changes={"num_layers": 3, "num_attention_heads": 4, "activation": "relu"},
        stays={
            "dropout_rate": 0.5,
            "attention_dropout_rate": 0.5,
            "initializer": CONSTANT,
            "dict_outputs": False,
            "kwargs": {"name": "other", "trainable": False},
        },
        sizes={
            "vocab_size": 51,
            "embedding_width": 14,
            "hidden_size": 20,
            "max_sequence_length": 9,
            "type_vocab_size": 5,
            "intermediate_size": 26,
        },
        more=(("activation", activations.gelu),),
    ),
    networks.MobileBERTEncoder: Row(
        base={
            "word_vocab_size": 50,
            "word_embed_size": 12,
            "type_vocab_size": 3,
            "max_sequence_length": LENGTH,
            "num_blocks": 2,
            # As wide as the bottleneck, so that no shape tells what attention takes.
            "hidden_size": 16,
            "intra_bottleneck_size": 16,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "num_feedforward_networks": 2,
        },
        changes={
            "num_blocks": 1,
            "num_attention_heads": 4,
            "intermediate_act_fn": "gelu",
            "use_bottleneck_attention": True,
            "key_query_shared_bottleneck": False,
            "normalization_type": "layer_norm",
            "classifier_activation": True,
        },
        stays={
            "hidden_dropout_prob": 0.5,
            "attention_probs_dropout_prob": 0.5,
            "initializer_range": 0.5,
            "input_mask_dtype": "float32",
            "kwargs": {"name": "other", "trainable": False},
        },
        sizes={
            "word_vocab_size": 51,
            "word_embed_size": 14,
            "type_vocab_size": 5,
            "max_sequence_length": 9,
            "hidden_size": 20,
            "intermediate_size": 26,
            "intra_bottleneck_size": 22,
        },
        more=(("num_feedforward_networks", 1),),
    ),
    networks.FunnelTransformerEncoder: dataclasses.replace(
        BERT,
        changes={
            **BERT.changes,
            "pool_type": "avg",
            "pool_stride": 4,
            "unpool_length": 1,
            "append_dense_inputs": True,
        },
        stays={
            **{k: v for k, v in BERT.stays.items() if not k.startswith("return_")},
            "share_rezero": True,
        },
        refused={"transformer_cls": "ReZeroTransformer"},
        more=(*BERT.more, ("pool_type", "truncated_avg"), ("pool_stride", [2, 1])),
    ),
    networks.FNet: dataclasses.replace(
        BERT,
        base={**BERT.base, "attention_layers": (1,)},
        changes={
            **BERT.changes,
            "mixing_mechanism": layers.MixingMechanism.HARTLEY,
            "attention_layers": (0,),
        },
        stays={
            **{k: v for k, v in BERT.stays.items() if not k.startswith("return_")},
            "use_fft": True,
            "with_dense_inputs": True,
        },
        more=(*BERT.more, ("mixing_mechanism", layers.MixingMechanism.LINEAR)),
    ),
}
each = pytest.mark.parametrize("cls", ROWS, ids=lambda cls: cls.__name__)


def make(cls, **changes):
    arguments = {**ROWS[cls].base, **changes}
    arguments |= arguments.pop("kwargs", {})
    if callable(arguments.get("embedding_layer")):
        arguments["embedding_layer"] = arguments["embedding_layer"](name="words")
    encoder = cls(**arguments)
    encoder(encoder.inputs)
    return encoder


def architecture(encoder):
    told = host_of(encoder).architecture(encoder)
    assert json.loads(json.dumps(told)) == told
    return told


def told_of(encoder):
    """All that tells encoders apart whose variables have equal values."""
    return architecture(encoder), {n: v.shape for n, v in encoder_variables(encoder).items()}


@functools.cache
def base_of(cls):
    """The encoder that the others are held against, its weights random, and its outputs."""
    tf_keras.utils.set_random_seed(1)
    encoder = make(cls)
    fill(encoder, {})
    return encoder, values_of(encoder), outputs(encoder)


def values_of(encoder):
    return {name: v.numpy() for name, v in encoder_variables(encoder).items()}


def fill(encoder, values):
    """Gives an encoder these values, as far as it has room; what is left is random."""
    rng = np.random.default_rng(0)
    for name, variable in encoder_variables(encoder).items():
        value = values.get(name, np.zeros(0))
        if value.size != np.prod(variable.shape):
            value = rng.normal(size=variable.shape) * 0.5
        variable.assign(value.reshape(variable.shape))


def outputs(encoder):
    """Its `sequence_output` and `pooled_output`, also beside dense inputs where it takes them."""
    words = np.array([[1, 5, 9, 2, 3, 4, 0, 0], [1, 7, 8, 9, 30, 4, 3, 2]], np.int32)
    tokens = {
        "input_word_ids": words,
        "input_mask": (words > 0).astype(np.int32),
        "input_type_ids": words % 3,
    }
    calls = [encoder(tokens)]
    if not isinstance(encoder, tf_keras.Model):
        width = encoder.get_config()["embedding_width"]
        dense = {
            "dense_inputs": np.random.default_rng(2).normal(size=(2, 2, width)).astype("float32"),
            "dense_mask": np.ones((2, 2), np.int32),
            "dense_type_ids": np.zeros((2, 2), np.int32),
        }
        calls.append(encoder({**{name: v[:, :-2] for name, v in tokens.items()}, **dense}))
    found = []
    for result in calls:
        if not isinstance(result, dict):
            sequence = result[0][-1] if isinstance(result[0], list) else result[0]
            result = {"sequence_output": sequence, "pooled_output": result[1]}
        found += [result["sequence_output"].numpy(), result["pooled_output"].numpy()]
    return found


def differ(first, second):
    """Says whether outputs differ in the positions that both have."""
    for one, other in zip(first, second, strict=True):
        length = min(one.shape[1], other.shape[1])
        atol = 1e-5 * np.abs(one).max()
        if not np.allclose(one[:, :length], other[:, :length], rtol=0, atol=atol):
            return True
    return False


def change_of(cls):
    return [(cls, item) for item in (*ROWS[cls].changes.items(), *ROWS[cls].more)]


def test_every_host_has_a_row():
    assert set(ROWS) == set(HOSTS)


@each
def test_every_argument_is_in_the_table(cls):
    row = ROWS[cls]
    told = {*row.changes, *row.stays, *row.sizes, *row.refused, *dict(row.more)}
    assert told == set(inspect.signature(cls.__init__).parameters) - {"self"}


@pytest.mark.parametrize(
    ("cls", "change"),
    [item for cls in ROWS for item in change_of(cls)],
    ids=lambda value: value.__name__ if inspect.isclass(value) else value[0],
)
def test_what_changes_the_outputs_changes_the_architecture(cls, change):
    encoder, values, before = base_of(cls)
    changed = make(cls, **dict([change]))
    fill(changed, values)
    assert differ(before, outputs(changed))
    assert told_of(changed) != told_of(encoder)


@each
def test_what_leaves_the_outputs_alone_leaves_the_architecture(cls):
    """All of it at once."""
    encoder, values, before = base_of(cls)
    changed = make(cls, **ROWS[cls].stays)
    fill(changed, values)
    assert not differ(before, outputs(changed))
    assert architecture(changed) == architecture(encoder)


@each
def test_sizes_are_told_by_the_variables(cls):
    encoder, values, _ = base_of(cls)
    sizes = {size for value in values.values() for size in value.shape}
    changed = make(cls, **ROWS[cls].sizes)
    assert not sizes & set(ROWS[cls].sizes.values())
    changed_sizes = {size for v in encoder_variables(changed).values() for size in v.shape}
    assert changed_sizes >= set(ROWS[cls].sizes.values())
    assert architecture(changed) == architecture(encoder)


@each
def test_refused_values_are(cls):
    for name, value in ROWS[cls].refused.items():
        encoder = make(cls, **{name: value})
        with pytest.raises(ValueError, match="must be made of these blocks"):
            host_of(encoder)


@each
def test_an_adapted_encoder_is_of_its_bases_architecture_and_so_is_a_reloaded_one(cls):
    if cls is networks.FunnelTransformerEncoder:
        encoder = make(cls, append_dense_inputs=True)
    else:
        encoder = make(cls)
    told = architecture(encoder)
    adapt(encoder, AdapterConfig(4))
    assert architecture(encoder) == told
    assert architecture(type(encoder).from_config(encoder.get_config())) == told


@each
def test_precision_is_no_part_of_it(cls):
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    mixed = make(cls)
    tf_keras.mixed_precision.set_global_policy("float32")
    assert architecture(mixed) == architecture(base_of(cls)[0])


def test_of_a_bert():
    first, second = base_of(networks.BertEncoderV2)[0], base_of(networks.BertEncoder)[0]
    told = {
        "family": "bert",
        "layers": 2,
        "embedding_scale": 1.0,
        "heads": 2,
        "activation": "gelu",
        "norm_first": False,
        "norm_epsilon": 1e-12,
        "pooler_activation": "tanh",
    }
    assert architecture(first) == architecture(second) == told


def test_what_differs_from_block_to_block_is_told_of_each():
    encoder = make(networks.FNet, norm_first=True)
    told = architecture(encoder)
    assert told["mixing"] == ["fourier", "attention"]
    assert told["heads"] == [None, 2]
    assert told["norm_first"] is True
    encoder.transformer_layers[1]._output_layer_norm.epsilon = 1e-5
    assert architecture(encoder)["norm_epsilon"] == [1e-12] * 4 + [1e-5]


def test_an_unbuilt_encoder_is_refused():
    encoder = networks.BertEncoderV2(**BERT.base)
    with pytest.raises(ValueError, match="`encoder` must be built"):
        host_of(encoder).architecture(encoder)


@pytest.mark.parametrize(
    ("cls", "first", "second"),
    [
        # Without attention the heads are of no use, without strides the way of pooling.
        (networks.FNet, {"attention_layers": ()}, {"num_attention_heads": 4}),
        (networks.FunnelTransformerEncoder, {"pool_stride": 1}, {"pool_type": "avg"}),
        (networks.FunnelTransformerEncoder, {"pool_stride": 1}, {"unpool_length": 2}),
        (networks.FunnelTransformerEncoder, {"pool_stride": 1}, {"pool_type": "truncated_avg"}),
        (
            networks.MobileBERTEncoder,
            {"use_bottleneck_attention": True},
            {"key_query_shared_bottleneck": False},
        ),
    ],
    ids=["heads", "pool_type", "unpool_length", "truncated_avg", "shared"],
)
def test_settings_without_effect(cls, first, second):
    one, other = make(cls, **first), make(cls, **first, **second)
    fill(one, base_of(cls)[1])
    fill(other, values_of(one))
    assert not differ(outputs(one), outputs(other))
    assert architecture(one) == architecture(other)


class Doubled(layers.OnDeviceEmbedding):
    def call(self, inputs):
        return 2 * super().call(inputs)


@pytest.mark.parametrize(
    ("layer", "same"),
    [
        (functools.partial(layers.OnDeviceEmbedding, use_one_hot=True), True),
        (tf_keras.layers.Embedding, True),
        (Doubled, False),
        (functools.partial(tf_keras.layers.Embedding, mask_zero=True), False),
    ],
    ids=["one hot", "of Keras", "derived", "masks"],
)
def test_word_embeddings_of_other_layers(layer, same):
    encoder = make(networks.BertEncoderV2, embedding_layer=functools.partial(layer, 50, 12))
    told = architecture(encoder)
    assert (told == architecture(base_of(networks.BertEncoderV2)[0])) == same
    again = make(networks.BertEncoderV2, embedding_layer=functools.partial(layer, 50, 12))
    assert architecture(again) == told


def test_word_embeddings_without_a_config_are_refused():
    class Own(layers.OnDeviceEmbedding):
        def get_config(self):
            return {"weights": np.zeros(3)}

    encoder = make(networks.BertEncoderV2, embedding_layer=functools.partial(Own, 50, 12))
    with pytest.raises(ValueError, match="`embedding_layer` must have a config"):
        architecture(encoder)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("norm_epsilon", 1e-5),
        ("use_query_residual", False),
        ("use_rms_norm", True),
        ("num_kv_heads", 1),
        ("linformer_dim", 4),
    ],
)
def test_blocks_that_no_encoder_makes(argument, value):
    encoder = make(networks.BertEncoderV2)
    told = architecture(encoder)
    block = layers.TransformerEncoderBlock(2, 24, "gelu", **{argument: value})
    block(tf.zeros([1, LENGTH, 16]))
    encoder._transformer_layers[1] = block
    assert architecture(encoder) != told


def test_an_activation_with_variables_is_refused():
    encoder = make(networks.BertEncoderV2)
    parametric = tf_keras.layers.PReLU(shared_axes=[1])
    parametric.build([None, None, 24])
    encoder.transformer_layers[1]._intermediate_activation_layer.activation = parametric
    with pytest.raises(ValueError, match=r"must hold no variables\. Received: .*, a PReLU"):
        architecture(encoder)
