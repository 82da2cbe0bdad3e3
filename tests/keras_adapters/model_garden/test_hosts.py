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

from keras_adapters import AdapterConfig, Method, adapter_file
from keras_adapters.model_garden import BottleneckAdapter, add_adapters, freezing
from keras_adapters.model_garden.hosts.table import HOSTS, host_of
from keras_adapters.model_garden.summary import ParameterCounts, count_parameters
from keras_adapters.model_garden.variables import encoder_variables

ROOT = pathlib.Path(__file__).resolve().parents[3]
TYPES = [field.name for field in dataclasses.fields(encoders.EncoderConfig) if field.name != "type"]
# Each encoder takes from these what it has; the names differ from one to the next.
SMALL = {
    **dict.fromkeys(["vocab_size", "word_vocab_size"], 50),
    **dict.fromkeys(["num_layers", "num_blocks", "num_attention_heads"], 2),
    **dict.fromkeys(["type_vocab_size", "num_feedforward_networks", "num_experts"], 2),
    **dict.fromkeys(["intermediate_size", "inner_dim", "inner_size"], 24),
    **dict.fromkeys(["embedding_width", "embedding_size", "word_embed_size"], 8),
    **dict.fromkeys(["intra_bottleneck_size", "head_size", "max_sequence_length"], 8),
    **dict.fromkeys(["moe_layers", "attention_layers"], (1,)),
    "hidden_size": 16,
    "max_position_embeddings": 32,
    "block_size": 4,
    "normalization_type": "no_norm",
    "key_query_shared_bottleneck": True,
}


def build(kind, **changes):
    tf_keras.utils.set_random_seed(1)
    config = encoders.EncoderConfig(type=kind)
    known = {field.name for field in dataclasses.fields(config.get())}
    config.get().override({k: v for k, v in {**SMALL, **changes}.items() if k in known})
    return encoders.build_encoder(config)


def read_table():
    """The documentation's table: type to (class, whether it can be adapted)."""
    text = "\n".join(path.read_text() for path in (ROOT / "README.md", *ROOT.glob("docs/*.md")))
    rows = re.findall(r"^\| (`.*?`) \| `(\w+)` \| (yes|no) \|", text, re.MULTILINE)
    return {
        kind: (cls, word) for kinds, cls, word in rows for kind in re.findall(r"`(\w+)`", kinds)
    }


TABLE = read_table()
WORKING = [kind for kind in TABLE if TABLE[kind][1] == "yes"]
each = pytest.mark.parametrize("kind", WORKING)


@pytest.fixture
def tokens():
    """Sequences of the one length that an FNet takes."""
    word_ids = np.array([[1, 5, 9, 2, 0, 0, 0, 0], [1, 7, 8, 9, 30, 4, 3, 2]], np.int32)
    mask = (word_ids > 0).astype(np.int32)
    return {"input_word_ids": word_ids, "input_mask": mask, "input_type_ids": word_ids % 2}


def classifier(encoder):
    pooled = encoder(encoder.inputs)["pooled_output"]
    return tf_keras.Model(encoder.inputs, tf_keras.layers.Dense(3, name="logits")(pooled))


def adapters_in(encoder):
    return [layer for layer in encoder.submodules if isinstance(layer, BottleneckAdapter)]


def test_the_table_has_every_type():
    assert sorted([*TABLE, "any"]) == sorted(TYPES)
    assert {TABLE[kind][0] for kind in WORKING} == {host.__name__ for host in HOSTS}


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind != "any"])
def test_the_table_is_true(kind):
    encoder = build(kind)
    name, word = TABLE[kind]
    assert type(encoder).__name__ == name
    if word == "yes":
        add_adapters(encoder, AdapterConfig(4))
        assert adapters_in(encoder)
        assert type(encoder).__name__ == f"Adapted{name}"
    else:
        with pytest.raises(ValueError, match=rf"BertEncoderV2, .*, FNet\. Received: {name}"):
            add_adapters(encoder, AdapterConfig(4))
        assert not adapters_in(encoder)


@each
def test_fresh_adapters_are_nearly_the_identity_and_zero_ones_exactly(kind, tokens):
    encoder = build(kind)
    before = encoder(tokens)["sequence_output"]
    add_adapters(encoder, AdapterConfig(4))
    after = encoder(tokens)["sequence_output"]
    assert 0 < np.abs(after - before).max() < 5e-3
    for adapter in adapters_in(encoder):
        adapter.set_weights([np.zeros_like(w) for w in adapter.get_weights()])
    np.testing.assert_array_equal(encoder(tokens)["sequence_output"], before)


# With m = 4: 148 for each adapter of width 16, 76 for each of MobileBERT's of width 8.
@pytest.mark.parametrize(
    ("kind", "adapters", "norms"),
    [
        ("albert", 2 * 148, (8, 16, 16)),
        ("bert", 4 * 148, (8, *4 * [16])),
        ("bert_v2", 4 * 148, (8, *4 * [16])),
        ("fnet", 4 * 148, (8, *4 * [16])),
        ("funnel", 4 * 148, (8, *4 * [16])),
        ("mobilebert", 2 * 3 * 76, (16, *2 * [8, 8, 8, 8, 8, 16])),
        ("query_bert", 4 * 148, (16, *4 * [16])),
    ],
)
def test_names_and_counts(kind, adapters, norms):
    encoder = build(kind)
    model = classifier(encoder)
    base = sum(v.shape.num_elements() for v in encoder.variables)
    add_adapters(encoder, AdapterConfig(4))
    freezing.set_trainable(model, encoder)
    named = encoder_variables(encoder)
    assert {id(v) for v in named.values()} == {id(v) for v in encoder.variables}
    assert len(named) == len(encoder.variables)
    trained = {id(v) for v in model.trainable_variables}
    assert {name for name, v in named.items() if id(v) in trained} == {
        name for name in named if "/adapter/" in name or "/layer_norm/" in name
    }
    counts, head = count_parameters(model, encoder), 16 * 3 + 3
    assert counts == ParameterCounts(base, base + adapters + head, adapters + 2 * sum(norms) + head)


def test_every_pin_is_there():
    (mark,) = test_names_and_counts.pytestmark
    assert {kind for kind, *_ in mark.args[1]} == set(WORKING)


@each
def test_training_a_step_saving_and_loading_the_adapter(kind, tokens, tmp_path):
    encoder = add_adapters(build(kind), AdapterConfig(4))
    model = classifier(encoder)
    freezing.set_trainable(model, encoder)
    before = {id(v): v.numpy() for v in model.variables}
    # An epsilon below the gradients that reach the lowest of MobileBERT's norms.
    adam = tf_keras.optimizers.Adam(epsilon=1e-20)
    model.compile(adam, tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(tokens, np.array([0, 1]), verbose=0)
    for variable in model.non_trainable_variables:
        assert np.array_equal(variable.numpy(), before[id(variable)]), variable.name
    for variable in model.trainable_variables:
        assert not np.array_equal(variable.numpy(), before[id(variable)]), variable.name

    adapter_file.save_adapter(tmp_path / "adapter", model, encoder)
    fresh_encoder = build(kind)
    fresh = classifier(fresh_encoder)
    adapter_file.load_adapter(tmp_path / "adapter", fresh, fresh_encoder)
    np.testing.assert_array_equal(fresh(tokens), model(tokens))


# The two classes of BERT are in test_splice.py.
OTHERS = [kind for kind in WORKING if kind not in ("bert", "bert_v2")]


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("form", ["config", "model.keras", "saved_model"])
def test_reloading_keeps_the_adapters(kind, form, tokens, tmp_path):
    encoder = add_adapters(build(kind), AdapterConfig(4, init_stddev=0.5))
    if form == "config":
        again = type(encoder).from_config(encoder.get_config())
        again(again.inputs)
        values = encoder_variables(encoder)
        for name, variable in encoder_variables(again).items():
            variable.assign(values[name])
        got, expected = again(tokens)["pooled_output"], encoder(tokens)["pooled_output"]
    else:
        model = classifier(encoder)
        model.save(tmp_path / form)
        reloaded = tf_keras.models.load_model(tmp_path / form)
        (again,) = (layer for layer in reloaded.layers if isinstance(layer, type(encoder)))
        got, expected = reloaded(tokens), model(tokens)
    assert again.adapter_config == encoder.adapter_config
    assert len(adapters_in(again)) == len(adapters_in(encoder))
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("kind", OTHERS)
def test_the_bases_checkpoints_still_fit(kind, tmp_path):
    encoder = build(kind)
    encoder(encoder.inputs)
    path = tf.train.Checkpoint(encoder=encoder).write(str(tmp_path / "base"))
    values = {name: v.numpy() for name, v in encoder_variables(encoder).items()}
    add_adapters(encoder, AdapterConfig(4))
    variables = encoder_variables(encoder, adapters=False)
    for variable in variables.values():
        variable.assign(tf.zeros_like(variable))
    tf.train.Checkpoint(encoder=encoder).read(path).expect_partial()
    for name, variable in variables.items():
        np.testing.assert_array_equal(variable.numpy(), values[name], err_msg=name)


def test_alberts_layers_share_two_adapters_and_cannot_be_chosen():
    encoder = build("albert", num_layers=3)
    for layers in ((0,), (1, 2)):
        with pytest.raises(ValueError, match="must be None for AlbertEncoder: its 3 layers share"):
            add_adapters(encoder, AdapterConfig(4, layers=layers))
    add_adapters(encoder, AdapterConfig(4, layers=(0, 1, 2)))
    assert len(adapters_in(encoder)) == 2
    with pytest.raises(ValueError, match="'top_layers' needs layers of their own"):
        freezing.set_trainable(
            classifier(encoder), encoder, Method.named("top_layers", top_layers=1)
        )


def test_an_alberts_list_outputs_survive_reloading():
    encoder = networks.AlbertEncoder(50, 8, 16, 2, 2, 32, dict_outputs=False)
    add_adapters(encoder, AdapterConfig(4))
    assert isinstance(type(encoder).from_config(encoder.get_config()).output, list)


def test_mobilebert_adapts_before_each_residual(tokens):
    """Recomputes a block from its own sub-layers, with the adapters in their places."""
    encoder = add_adapters(build("mobilebert"), AdapterConfig(4, init_stddev=0.5))
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
def test_other_methods_on_mobilebert_without_a_pooler(method, top_layers, tokens):
    encoder = build("mobilebert", classifier_activation=False)
    model = classifier(encoder)
    freezing.set_trainable(model, encoder, Method.named(method, top_layers=top_layers))
    inside = encoder_variables(encoder)
    trained = {id(v) for v in model.trainable_variables}
    wanted = {name for name in inside if method == "full" or name.startswith("layer_1/")}
    assert {name for name, v in inside.items() if id(v) in trained} == wanted


def test_a_funnel_of_other_blocks_is_refused():
    encoder = build("funnel", transformer_cls="ReZeroTransformer")
    with pytest.raises(ValueError, match="Received: FunnelTransformerEncoder of ReZeroTransformer"):
        add_adapters(encoder, AdapterConfig(4))
    assert type(encoder) is networks.FunnelTransformerEncoder


def test_any_is_as_the_class_that_its_builder_makes():
    class Config(encoders.BertEncoderConfig):
        BUILDER = staticmethod(lambda _: build("bert_v2"))

    encoder = encoders.build_encoder(encoders.EncoderConfig(type="any", any=Config()))
    assert len(adapters_in(add_adapters(encoder, AdapterConfig(4)))) == 4


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
def test_counts_at_real_sizes(kind, sizes, base, adapters):
    width = sizes["hidden_size"]
    encoder = build(
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
