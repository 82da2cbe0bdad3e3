"""What a host of KerasHub's tells of a backbone is so: a row for each class."""

import keras
import keras_hub
import numpy as np
import pytest

from keras_adapters import AdapterConfig
from keras_adapters.keras_hub.exact_bert import ExactBertBackbone
from keras_adapters.keras_hub.hosts.table import HOSTS, host_of

NAMES = (
    "bert",
    "roberta",
    "xlm_roberta",
    "distil_bert",
    "electra",
    "albert",
    "deberta_v3",
    "f_net",
    "vit",
    "gpt2",
    "opt",
    "llama",
    "llama3",
    "mistral",
    "qwen",
    "qwen3",
)
NORM_FIRST = {"vit", "gpt2", "opt", "llama", "llama3", "mistral", "qwen", "qwen3"}
each = pytest.mark.parametrize("name", NAMES)


def parts_of(encoder):
    host = host_of(encoder)
    yield from host.embedding_parts(encoder)
    for index, block in enumerate(dict.fromkeys(host.blocks(encoder))):
        yield from ((f"layer_{index}/{part}", layer) for part, layer in host.block_parts(block))
    yield from host.top_parts(encoder)


def named_variables(encoder):
    """Names of variables and these, a pair for each time that a part holds one itself."""
    for prefix, layer in parts_of(encoder):
        inner = {id(v) for child in layer._layers for v in child.weights}
        for variable in layer.weights:
            if id(variable) not in inner:
                yield f"{prefix}/{variable.name}".removesuffix("/embeddings"), variable


def shapes_of(encoder):
    return sorted((name, list(variable.shape)) for name, variable in named_variables(encoder))


def test_every_host_has_a_row(hub):
    assert list(NAMES) == list(hub.classes)
    classes = {getattr(keras_hub.models, cls) for cls in hub.classes.values()}
    assert classes | {ExactBertBackbone} == set(HOSTS)


@each
def test_the_parts_hold_every_variable_once_by_names_of_their_own(name, hub):
    encoder = hub.shared(name)
    named = list(named_variables(encoder))
    assert sorted(id(v) for _, v in named) == sorted(id(v) for v in encoder.weights)
    assert len(dict(named)) == len(named)


@each
def test_norms_are_the_norms(name, hub):
    encoder = hub.shared(name)
    host = host_of(encoder)
    norms = {layer for part, layer in parts_of(encoder) if part.endswith("layer_norm")}
    assert host.norms(encoder) == norms
    assert host.pooler(encoder) is getattr(encoder, "pooled_dense", None)


def watch(layers, monkeypatch):
    """Returns what layers take and give from now on, by layer and side, and their calls."""
    seen = {}

    def watched(layer):
        call = layer.call

        def wrapper(*args, **kwargs):
            # A keyword that is given stands for the first argument, as attention's `query`.
            seen[layer, "input"] = args[0] if args else next(iter(kwargs.values()))
            seen[layer, "output"] = call(*args, **kwargs)
            seen[layer, "calls"] = seen.get((layer, "calls"), 0) + 1
            return seen[layer, "output"]

        return wrapper

    for layer in layers:
        monkeypatch.setattr(layer, "call", watched(layer))
    return seen


def assert_close(first, second):
    first, second = map(keras.ops.convert_to_numpy, (first, second))
    np.testing.assert_allclose(first, second, atol=2e-5)


@each
def test_sites_are_true(name, hub, monkeypatch):
    """The tensors that a site tells of are those of its residual addition."""
    encoder = hub.shared(name)
    host = host_of(encoder)
    blocks = list(dict.fromkeys(host.blocks(encoder)))
    assert len(blocks) == (1 if name == "albert" else 2)
    sites = {block: host.sites(block) for block in blocks}
    places = {"f_net": ["feed_forward"]}.get(name, ["attention", "feed_forward"])
    told = [site for block in blocks for site in sites[block]]
    layers = {site.input.layer for site in told} | {site.end for site in told} | set(blocks)
    layers |= {site.after.layer for site in told if site.after}
    seen = watch(layers, monkeypatch)
    hub.states(encoder)
    monkeypatch.undo()
    for block in blocks:
        assert [site.name for site in sites[block]] == [site.place for site in told[: len(places)]]
        assert [site.place for site in sites[block]] == places
        assert host.normalises_last(block) == (name not in NORM_FIRST)
        parts = dict(host.block_parts(block))
        stream = seen[block, "input"]
        for site, norm in zip(sites[block], ("attention", "output"), strict=False):
            norm = parts[f"{norm}/layer_norm"]
            given, end = seen[site.input.layer, site.input.side], seen[site.end, "output"]
            assert end.shape[-1] == site.width == 16
            assert seen[site.end, "calls"] == seen[block, "calls"]
            if name in NORM_FIRST:
                assert site.after is None
                assert_close(given, norm(stream))
                stream = stream + end
            else:
                assert site.after.side == "output"
                stream = seen[site.after.layer, "output"]
                assert_close(stream, site.after.layer(given + end))
        assert_close(seen[block, "output"], stream)


def test_dropouts_and_values_are_no_part_of_the_architecture(hub):
    plain = hub.shared("bert")
    again = hub.build("bert", dropout=0.3)
    assert host_of(again).architecture(again) == host_of(plain).architecture(plain)


CHANGES = {
    "heads": ("bert", {"num_heads": 4}),
    "heads of deberta": ("deberta_v3", {"num_heads": 4}),
    "positions in buckets": ("deberta_v3", {"max_sequence_length": 64}),
    "norm_epsilon": ("llama", {"layer_norm_epsilon": 1e-5}),
    "rope": ("llama", {"rope_max_wavelength": 500000}),
    "rope scaled": (
        "llama3",
        {
            "rope_frequency_adjustment_factor": 8,
            "rope_low_freq_factor": 1,
            "rope_high_freq_factor": 4,
            "rope_pretraining_sequence_length": 16,
        },
    ),
    "sliding window": ("mistral", {"sliding_window": 4}),
    "sliding window of qwen": ("qwen", {"use_sliding_window_attention": True}),
    "sliding window of qwen3": ("qwen3", {"sliding_window_size": 4}),
    "rope of qwen": ("qwen", {"rope_scaling_factor": 2.0}),
}


@pytest.mark.parametrize(("name", "changes"), CHANGES.values(), ids=CHANGES)
def test_the_architecture_tells_what_the_variables_do_not(name, changes, hub):
    plain = hub.shared(name)
    told = host_of(plain).architecture(plain)
    other = hub.build(name, **changes)
    assert host_of(other).architecture(other) != told


def test_an_activation_is_told_by_what_it_computes(hub):
    encoder = hub.build("bert")
    host = host_of(encoder)
    assert host.architecture(encoder)["activation"] == "gelu_tanh"
    for block in encoder.transformer_layers:
        block._feedforward_intermediate_dense.activation = keras.activations.gelu
    assert host.architecture(encoder)["activation"] == "gelu"
    encoder.transformer_layers[1]._feedforward_intermediate_dense.activation = keras.ops.relu
    assert host.architecture(encoder)["activation"] == ["gelu", "relu"]


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (None, "linear"),
        ("gelu", "gelu"),
        (lambda x: keras.activations.gelu(x, approximate=True), "gelu_tanh"),
        (keras.layers.ReLU(), "relu"),
        (keras.layers.Activation("silu"), "swish"),
    ],
)
def test_names_of_activations(activation, name, hub):
    host = host_of(hub.shared("bert"))
    for dtype in ("float32", "mixed_bfloat16"):
        assert host.activation_of(keras.layers.Dense(2, activation, dtype=dtype)) == name


def test_an_activation_with_variables_is_refused(hub):
    activation = keras.layers.PReLU(name="act")
    activation.build((None, 2))
    host, layer = host_of(hub.shared("bert")), keras.layers.Dense(2, activation, name="dense")
    with pytest.raises(ValueError, match=r"'dense' must hold no variables\. Received: 'act'"):
        host.activation_of(layer)


def test_a_class_of_ones_own_is_a_host_as_the_one_it_derives_from(hub):
    class Mine(keras_hub.models.RobertaBackbone):
        pass

    plain = hub.shared("roberta")
    encoder = Mine(**{k: v for k, v in plain.get_config().items() if k not in ("name", "dtype")})
    assert host_of(encoder) is HOSTS[keras_hub.models.RobertaBackbone]
    assert shapes_of(encoder) == shapes_of(plain)


def test_what_is_no_host_is_refused_with_the_list(hub):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    with pytest.raises(ValueError, match=r"BertBackbone, .*Qwen3Backbone; .*Received: Functional"):
        host_of(model)
    encoder = hub.build("bert")
    encoder.transformer_layers[1].__class__ = type(
        "OtherEncoder", (keras_hub.layers.TransformerEncoder,), {}
    )
    with pytest.raises(ValueError, match="Received: BertBackbone of OtherEncoder"):
        host_of(encoder)


def test_an_f_net_has_no_place_after_its_mixing(hub):
    encoder = hub.shared("f_net")
    host = host_of(encoder)
    host.check_insertion(encoder, AdapterConfig(4))
    with pytest.raises(ValueError, match=r"must name 'feed_forward' for FNetBackbone"):
        host.check_insertion(encoder, AdapterConfig(4, places=("attention",)))
