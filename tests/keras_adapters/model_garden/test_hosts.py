"""Every type of encoder that tf-models-official's `build_encoder` makes."""

import dataclasses
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.nlp.configs import encoders
from official.nlp.modeling import networks

from keras_adapters import AdapterConfig, Method, freezing
from keras_adapters.model_garden import add_adapters
from keras_adapters.model_garden.hosts.table import HOSTS, host_of
from keras_adapters.summary import count_parameters
from keras_adapters.variables import encoder_variables

ROOT = pathlib.Path(__file__).resolve().parents[3]
TYPES = [field.name for field in dataclasses.fields(encoders.EncoderConfig) if field.name != "type"]


def read_table():
    """The documentation's table: type to (class, whether it can be adapted)."""
    text = "\n".join(path.read_text() for path in (ROOT / "README.md", *ROOT.glob("docs/*.md")))
    rows = re.findall(r"^\| (`.*?`) \| `(\w+)` \| (yes|no) \|", text, re.MULTILINE)
    return {
        kind: (cls, word) for kinds, cls, word in rows for kind in re.findall(r"`(\w+)`", kinds)
    }


TABLE = read_table()
WORKING = [kind for kind in TABLE if TABLE[kind][1] == "yes"]


def test_the_table_has_every_type():
    assert sorted([*TABLE, "any"]) == sorted(TYPES)
    assert {TABLE[kind][0] for kind in WORKING} == {host.__name__ for host in HOSTS}


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind != "any"])
def test_the_table_is_true(kind, garden):
    encoder = garden.build(kind)
    name, word = TABLE[kind]
    assert type(encoder).__name__ == name
    if word == "yes":
        add_adapters(encoder, AdapterConfig(4))
        assert garden.adapters_in(encoder)
        assert type(encoder).__name__ == f"Adapted{name}"
    else:
        with pytest.raises(ValueError, match=rf"BertEncoderV2, .*, FNet\. Received: {name}"):
            add_adapters(encoder, AdapterConfig(4))
        assert not garden.adapters_in(encoder)


def test_alberts_layers_share_two_adapters_and_cannot_be_chosen(garden):
    encoder = garden.build("albert", num_layers=3)
    for layers in ((0,), (1, 2)):
        with pytest.raises(ValueError, match="layers of AlbertEncoder: its 3 layers share"):
            add_adapters(encoder, AdapterConfig(4, layers=layers))
    add_adapters(encoder, AdapterConfig(4, layers=(0, 1, 2)))
    assert len(garden.adapters_in(encoder)) == 2
    with pytest.raises(ValueError, match=r"share one block, .* top_layers=1"):
        freezing.set_trainable(
            garden.classifier(encoder), encoder, Method.named("top_layers", top_layers=1)
        )


def test_an_alberts_list_outputs_survive_reloading():
    encoder = networks.AlbertEncoder(50, 8, 16, 2, 2, 32, dict_outputs=False)
    add_adapters(encoder, AdapterConfig(4))
    assert isinstance(type(encoder).from_config(encoder.get_config()).output, list)


def test_mobilebert_adapts_before_each_residual(garden):
    """Recomputes a block from its own sub-layers, with the adapters in their places."""
    encoder = add_adapters(garden.build("mobilebert"), AdapterConfig(4, init_stddev=0.5))
    block = host_of(encoder).blocks(encoder)[0]
    inside = block.block_layers
    inputs = tf.random.stateless_normal([2, 8, 16], seed=(0, 1))

    def projected(projection, x, equation):
        return block_adapters[projection.name](
            tf.einsum(equation, x, projection.kernel) + projection.bias
        )

    block_adapters = {
        inside["attention"][0]._output_dense.name: block.attention_adapter,
        inside["ffn"][0][1].name: block.feed_forward_0_adapter,
        inside["ffn"][1][1].name: block.feed_forward_1_adapter,
    }
    attention = inside["attention"][0]
    dense, norm = inside["bottleneck_input"]
    residual = norm(dense(inputs))
    shared = inside["kq_shared_bottleneck"][1](inside["kq_shared_bottleneck"][0](inputs))
    query, key = attention._query_dense(shared), attention._key_dense(shared)
    value = attention._value_dense(inputs)
    scores = tf.nn.softmax(tf.einsum("bqhd,bkhd->bhqk", query, key) / 2.0)
    heads = tf.einsum("bhqk,bkhd->bqhd", scores, value)
    attended = projected(attention._output_dense, heads, "bqhd,hde->bqe")
    hidden = inside["attention"][1](residual + attended)
    for intermediate, output, norm in inside["ffn"]:
        hidden = norm(hidden + projected(output, intermediate(hidden), "bsi,ie->bse"))
    dense, _, norm = inside["bottleneck_output"]
    np.testing.assert_allclose(block(inputs), norm(inputs + dense(hidden)), atol=1e-5)


@pytest.mark.parametrize(("method", "top_layers"), [("full", None), ("top_layers", 1)])
def test_other_methods_on_mobilebert_without_a_pooler(method, top_layers, garden):
    encoder = garden.build("mobilebert", classifier_activation=False)
    model = garden.classifier(encoder)
    freezing.set_trainable(model, encoder, Method.named(method, top_layers=top_layers))
    inside = encoder_variables(encoder)
    trained = {id(v) for v in model.trainable_variables}
    wanted = {name for name in inside if method == "full" or name.startswith("layer_1/")}
    assert {name for name, v in inside.items() if id(v) in trained} == wanted


def test_a_funnel_of_other_blocks_is_refused(garden):
    encoder = garden.build("funnel", transformer_cls="ReZeroTransformer")
    with pytest.raises(ValueError, match="Received: FunnelTransformerEncoder of ReZeroTransformer"):
        add_adapters(encoder, AdapterConfig(4))
    assert type(encoder) is networks.FunnelTransformerEncoder


def test_any_is_as_the_class_that_its_builder_makes(garden):
    class Config(encoders.BertEncoderConfig):
        BUILDER = staticmethod(lambda _: garden.build("bert_v2"))

    encoder = encoders.build_encoder(encoders.EncoderConfig(type="any", any=Config()))
    assert len(garden.adapters_in(add_adapters(encoder, AdapterConfig(4)))) == 4


# ALBERT-base, and ELECTRA-small with a pooler that it was not released with.
@pytest.mark.parametrize(
    ("kind", "sizes", "base", "adapters"),
    [
        (
            "albert",
            {"hidden_size": 768, "num_layers": 12, "vocab_size": 30000},
            11_683_584,
            198_272,
        ),
        (
            "bert_v2",
            {"hidden_size": 256, "num_layers": 12, "vocab_size": 30522},
            13_548_800,
            12 * 2 * 33_088,
        ),
    ],
    ids=["albert-base", "electra-small"],
)
def test_counts_at_real_sizes(kind, sizes, base, adapters, garden):
    width = sizes["hidden_size"]
    encoder = garden.build(
        kind,
        **sizes,
        **dict.fromkeys(["embedding_width", "embedding_size"], 128),
        intermediate_size=4 * width,
        num_attention_heads=width // 64,
        max_position_embeddings=512,
    )
    add_adapters(encoder, AdapterConfig(64))
    model = tf_keras.Model(encoder.inputs, encoder(encoder.inputs)["pooled_output"])
    counts = count_parameters(model, encoder)
    assert (counts.base, counts.total) == (base, base + adapters)
