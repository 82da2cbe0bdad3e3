"""What every host owes: a row of the table for each, through every check."""

import dataclasses
import functools
import hashlib

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import keras_adapters as ka
from keras_adapters import METHODS, AdapterConfig, Method
from keras_adapters.model_garden import adapt, add_adapters, set_trainable
from keras_adapters.model_garden.hosts.table import HOSTS, host_of
from keras_adapters.summary import ParameterCounts, adapter_summary, count_parameters
from keras_adapters.variables import encoder_variables

HEAD = 16 * 3 + 3


@dataclasses.dataclass(frozen=True)
class Row:
    """A tiny encoder, and what is known of it with adapters of size 4.

    `names` is a hash of the names and shapes of its variables, which adapter files hold:
    it must never change.
    """

    kind: str
    names: str
    base: int
    inserted: int
    norms: int
    changes: dict = dataclasses.field(default_factory=dict)


# 148 parameters for each adapter of width 16, 76 for each of MobileBERT's of width 8.
ROWS = {
    "bert_v2": Row("bert_v2", "05aa846f2d1f", 5024, 4 * 148, 144),
    "bert_v2, embeddings as wide as blocks": Row(
        "bert_v2", "982c5ca2bfa3", 5568, 4 * 148, 160, {"embedding_size": 16}
    ),
    "bert_v2, norm first": Row("bert_v2", "05aa846f2d1f", 5024, 4 * 148, 144, {"norm_first": True}),
    "bert": Row("bert", "05aa846f2d1f", 5024, 4 * 148, 144),
    "albert": Row("albert", "1d3b4eff9b5e", 3064, 2 * 148, 80),
    "mobilebert": Row("mobilebert", "3c46b70b1ce2", 4688, 6 * 76, 256),
    "mobilebert, LayerNorm, one network": Row(
        "mobilebert",
        "36733aed404a",
        3776,
        4 * 76,
        192,
        {
            "normalization_type": "layer_norm",
            "num_feedforward_networks": 1,
            "key_query_shared_bottleneck": False,
        },
    ),
    "funnel": Row("funnel", "05aa846f2d1f", 5024, 4 * 148, 144),
    "fnet": Row("fnet", "62fb5e88a7c8", 3744, 4 * 148, 144),
    "query_bert": Row("query_bert", "4d9baa3d6a46", 5296, 4 * 148, 160),
}
each = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)


def method_for(name):
    insertion = AdapterConfig(4) if name == "adapters" else None
    return Method.named(name, insertion, top_layers=1 if name == "top_layers" else None)


def methods_of(encoder):
    shares = host_of(encoder).shares_blocks(encoder)
    return [method_for(name) for name in METHODS if not (shares and name == "top_layers")]


def sites_of(encoder):
    host = host_of(encoder)
    return [site for block in host.blocks(encoder) for site in host.sites(block)]


def disturb(variables, seed=0):
    rng = np.random.default_rng(seed)
    for variable in variables:
        variable.assign_add(0.3 * rng.normal(size=variable.shape).astype("float32"))


def values_of(encoder):
    return {name: v.numpy() for name, v in encoder_variables(encoder).items()}


def assert_equal_values(first, second):
    assert sorted(first) == sorted(second)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_every_host_has_a_row(garden):
    assert {type(garden.build(row.kind, **row.changes)) for row in ROWS.values()} == set(HOSTS)


@each
def test_fresh_adapters_are_nearly_the_identity_and_zero_ones_exactly(row, garden, eight_tokens):
    encoder = garden.build(row.kind, **row.changes)
    before = encoder(eight_tokens)
    assert adapt(encoder, AdapterConfig(4)) is encoder
    after = encoder(eight_tokens)
    for name in ("sequence_output", "pooled_output"):
        assert 0 < np.abs(after[name] - before[name]).max() < 5e-3
    for adapter in garden.adapters_in(encoder):
        adapter.set_weights([np.zeros_like(w) for w in adapter.get_weights()])
    for name in ("sequence_output", "pooled_output"):
        np.testing.assert_array_equal(encoder(eight_tokens)[name], before[name])


@each
@pytest.mark.parametrize("adapted", [False, True], ids=["plain", "adapted"])
def test_sites_are_true(row, adapted, garden, eight_tokens, monkeypatch):
    """The tensors that a site tells of are those of its residual addition."""
    encoder = garden.build(row.kind, **row.changes)
    encoder(encoder.inputs)
    disturb(encoder.variables)
    if adapted:
        add_adapters(encoder, AdapterConfig(4, init_stddev=0.5))
    host, sites = host_of(encoder), sites_of(encoder)
    seen = {}

    def watch(layer):
        call = layer.call

        def watched(*args, **kwargs):
            # A keyword that is given stands for the first argument, as attention's `query`.
            seen[layer, "input"] = args[0] if args else next(iter(kwargs.values()))
            outputs = call(*args, **kwargs)
            seen[layer, "output"] = outputs
            return outputs

        monkeypatch.setattr(layer, "call", watched)

    for layer in {layer for site in sites for layer in (site.input.layer, site.end)}:
        watch(layer)
    for site in sites:
        if site.after and (site.after.layer, "output") not in seen:
            watch(site.after.layer)
    encoder(eight_tokens)
    for site in sites:
        end = seen[site.end, "output"]
        assert end.shape[-1] == site.width
        assert (site.after is None) == bool(row.changes.get("norm_first"))
        given = seen[site.input.layer, site.input.side]
        if site.after:
            norm = site.after.layer
            assert site.after.side == "output"
            expected = type(norm).call(norm, tf.cast(given + end, tf.float32))
            np.testing.assert_allclose(seen[norm, "output"], expected, atol=1e-5)
        else:
            # What the sub-layer takes is normalised: gamma and beta apart, of mean 0.
            norms = [n for n in host.norms(encoder) if n.gamma.shape[-1] == site.width]
            plain = [(given - norm.beta) / norm.gamma for norm in norms]
            assert min(np.abs(tf.reduce_mean(p, axis=-1)).max() for p in plain) < 1e-4


@each
def test_names_are_unique_and_stable_and_parameters_are_pinned(row, garden):
    encoder = garden.build(row.kind, **row.changes)
    model = garden.classifier(encoder)
    adapt(encoder, AdapterConfig(4))
    named = encoder_variables(encoder)
    assert {id(v) for v in named.values()} == {id(v) for v in encoder.variables}
    assert len(named) == len(encoder.variables)
    shapes = str(sorted((name, v.shape.as_list()) for name, v in named.items()))
    assert hashlib.sha256(shapes.encode()).hexdigest()[:12] == row.names
    assert count_parameters(model, encoder) == ParameterCounts(
        row.base, row.base + row.inserted + HEAD, row.inserted + row.norms + HEAD
    )
    summary = adapter_summary(encoder)
    assert (summary.inserted, summary.trained) == (row.inserted, row.inserted + row.norms)
    assert summary.total == row.base + row.inserted


def trains(method, name, blocks):
    """Whether a method trains the encoder's variable of a name."""
    if "/adapter/" in name:
        return True
    return {
        "nothing": False,
        "layer_norms": "layer_norm/" in name,
        "top_layers": name.startswith((f"layer_{blocks - 1}/", "pooler/")),
        "all": True,
    }[method.trains]


@each
def test_training_leaves_what_is_frozen_bit_identical(row, garden, eight_tokens):
    encoder = garden.build(row.kind, **row.changes)
    methods = methods_of(encoder)
    blocks = len(host_of(encoder).blocks(encoder))
    model = garden.classifier(encoder)
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # The adapters last: they stay in.
    for method in sorted(methods, key=lambda method: method.insertion is not None):
        if method.insertion is not None:
            add_adapters(encoder, method.insertion)
        set_trainable(model, encoder, method)
        named = encoder_variables(encoder)
        chosen = {name for name in named if trains(method, name, blocks)}
        assert garden.trained_names(model, encoder) == chosen | {"head"}
        assert len(model.variables) == len(model.trainable_variables) + len(
            model.non_trainable_variables
        )
        before = {id(v): v.numpy() for v in model.variables}
        # An epsilon below the gradients that reach the lowest of MobileBERT's norms.
        fitted = tf_keras.Model(model.input, model.output)
        fitted.compile(tf_keras.optimizers.Adam(epsilon=1e-20), loss, run_eagerly=True)
        fitted.fit(eight_tokens, np.array([0, 1]), verbose=0)
        names = {id(v): name for name, v in named.items()}
        for variable in model.variables:
            name = names.get(id(variable), "head")
            same = np.array_equal(variable.numpy(), before[id(variable)])
            # Attention does not see a bias that is the same for every key.
            if name not in chosen | {"head"} or not name.endswith("key/bias"):
                assert same == (name not in chosen | {"head"}), f"{method.name}: {name}"


@each
def test_adapter_files_and_removal(row, garden, eight_tokens, tmp_path):
    encoder = garden.build(row.kind, **row.changes)
    encoder(encoder.inputs)
    model = garden.classifier(encoder)
    plain, own_class = values_of(encoder), type(encoder)
    objects = {name: id(v) for name, v in encoder_variables(encoder).items()}
    sites = sites_of(encoder)
    untouched = encoder(eight_tokens)["pooled_output"]
    adapt(encoder, AdapterConfig(4))
    disturb(model.trainable_variables)
    ka.save_adapter(tmp_path / "adapter", model, encoder, {"row": row.kind})

    fresh_encoder = garden.build(row.kind, **row.changes)
    fresh = garden.classifier(fresh_encoder)
    metadata = ka.load_adapter(tmp_path / "adapter", fresh, fresh_encoder)
    assert metadata == {"row": row.kind}
    np.testing.assert_array_equal(fresh(eight_tokens), model(eight_tokens))

    assert ka.remove_adapter(encoder) is encoder
    assert type(encoder) is own_class
    assert not garden.adapters_in(encoder)
    assert_equal_values(values_of(encoder), plain)
    assert {name: id(v) for name, v in encoder_variables(encoder).items()} == objects
    for before, after in zip(sites, sites_of(encoder), strict=True):
        assert before.end is after.end
        assert type(after.end) in (tf_keras.layers.Dropout, tf_keras.layers.EinsumDense)
    np.testing.assert_array_equal(encoder(eight_tokens)["pooled_output"], untouched)
    assert len(encoder.trainable_variables) == len(encoder.variables) == len(plain)
    with pytest.raises(ValueError, match="nothing to remove"):
        ka.remove_adapter(encoder)
    # And once more, onto the same base.
    ka.load_adapter(tmp_path / "adapter", model, encoder)
    np.testing.assert_array_equal(fresh(eight_tokens), model(eight_tokens))


def reload(form, model, encoder, path):
    """A model made anew from one, and the encoder in it."""
    if form == "config":
        again = type(encoder).from_config(encoder.get_config())
        model = tf_keras.Model(again.inputs, again(again.inputs)["pooled_output"])
        values = encoder_variables(encoder)
        for name, variable in encoder_variables(again).items():
            variable.assign(values[name])
        return model, again
    if form == "clone":
        again = tf_keras.models.clone_model(model)
        again.set_weights(model.get_weights())
    else:
        model.save(path / form)
        again = tf_keras.models.load_model(path / form)
    (inside,) = (layer for layer in again.layers if isinstance(layer, type(encoder)))
    return again, inside


FORMS = ("config", "clone", "model.keras", "model.h5", "saved_model")
# All forms for each class of encoder, and for its variants those that their config decides.
RELOADS = {
    f"{name}-{form}": (name, form)
    for name, row in ROWS.items()
    for form in (FORMS[:1] + FORMS[2:3] if row.changes else FORMS)
}


@pytest.fixture(scope="module")
def adapted_models(garden):
    """Makes each row's encoder with adapters, in a model, once: reloading leaves it as it is."""

    @functools.cache
    def make(name):
        row = ROWS[name]
        encoder = adapt(garden.build(row.kind, **row.changes), AdapterConfig(4, init_stddev=0.5))
        model = garden.classifier(encoder)
        disturb(encoder.trainable_variables)
        return model, encoder

    return make


@pytest.mark.parametrize(("name", "form"), RELOADS.values(), ids=RELOADS)
def test_reloading_keeps_adapters_freezing_and_outputs(
    name, form, adapted_models, garden, eight_tokens, tmp_path
):
    model, encoder = adapted_models(name)
    again, inside = reload(form, model, encoder, tmp_path)
    expected = model(eight_tokens)
    if form == "config":
        expected = encoder(eight_tokens)["pooled_output"]
    np.testing.assert_allclose(again(eight_tokens), expected, atol=1e-5)
    assert inside.method == encoder.method == Method.of(AdapterConfig(4, init_stddev=0.5))
    assert len(garden.adapters_in(inside)) == len(garden.adapters_in(encoder))
    wanted = garden.trained_names(model, encoder)
    assert garden.trained_names(again, inside) == (
        wanted - {"head"} if form == "config" else wanted
    )


@each
def test_the_bases_checkpoints_still_fit(row, garden, tmp_path):
    encoder = garden.build(row.kind, **row.changes)
    encoder(encoder.inputs)
    path = tf.train.Checkpoint(encoder=encoder).write(str(tmp_path / "base"))
    values = values_of(encoder)
    adapt(encoder, AdapterConfig(4))
    variables = encoder_variables(encoder, adapters=False)
    for variable in variables.values():
        variable.assign(tf.zeros_like(variable))
    tf.train.Checkpoint(encoder=encoder).read(path).expect_partial()
    assert_equal_values({name: v.numpy() for name, v in variables.items()}, values)
