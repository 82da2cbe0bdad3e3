"""What each variant of adapters owes inside of encoders: where it stands, and what is kept."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.nlp.modeling import networks

import keras_adapters as ka
from keras_adapters import AdapterConfig
from keras_adapters.host import inserted_at
from keras_adapters.model_garden import adapt, add_adapters
from keras_adapters.model_garden.hosts.table import host_of
from keras_adapters.variables import encoder_variables
from train.fit.rematerialization import rematerialize

FORMS = ("after_norm", "parallel", "parallel_multiplicative")
KINDS = ("bert_v2", "bert", "albert", "mobilebert", "funnel", "fnet", "query_bert")
OTHERS = [
    *(("bert_v2", form) for form in FORMS if form != "parallel"),
    *(("mobilebert", form) for form in FORMS if form != "parallel"),
    ("fnet", "after_norm"),
]
# A few settings that have every option among them.
VARIANTS = {
    "pfeiffer": AdapterConfig(4, places=("feed_forward",), form="after_norm"),
    "scaled parallel": AdapterConfig(4, form="parallel", scale=4, places=("feed_forward",)),
    "multiplicative": AdapterConfig(
        4, form="parallel_multiplicative", norm="layer", scale="per_channel"
    ),
    "batch": AdapterConfig(4, norm="batch", scale="learned", hidden_layers=2),
    "gate": AdapterConfig(reduction_factor=4, form="parallel", gate=True),
    "sizes": AdapterConfig((4, 2), form="after_norm", scale="learned"),
}
each_variant = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
# Parameters of the adapters in two blocks of 16 features: of m = 4 each 148.
PINNED = {
    "pfeiffer": 2 * 148,
    "scaled parallel": 2 * 148,
    "multiplicative": 4 * (148 + 2 * 16 + 16),
    "batch": 4 * (148 + 4 * 16 + 1 + 20),
    "gate": 4 * (148 + 17),
    "sizes": 2 * (148 + 1) + 2 * (2 * 2 * 16 + 16 + 2 + 1),
}


def disturb(variables, seed=0):
    rng = np.random.default_rng(seed)
    for variable in variables:
        variable.assign_add(0.3 * np.abs(rng.normal(size=variable.shape)).astype("float32"))


def record(layers, monkeypatch):
    """What passes through layers, as (layer, side): the inputs and outputs of their calls."""
    seen = {}

    def watch(layer):
        call = layer.call

        def watched(*args, **kwargs):
            seen[layer, "input"] = args[0] if args else next(iter(kwargs.values()))
            seen[layer, "output"] = call(*args, **kwargs)
            return seen[layer, "output"]

        monkeypatch.setattr(layer, "call", watched)

    for layer in layers:
        watch(layer)
    return seen


def inserted_in(host, encoder):
    """The inserted layer of each place, in the order of the sites of the encoder's blocks."""
    blocks = {id(block): block for block in host.blocks(encoder)}.values()
    return [inserted_at(site) for block in blocks for site in host.sites(block)]


@pytest.mark.parametrize(("kind", "form"), [*((k, "parallel") for k in KINDS), *OTHERS])
def test_each_sub_layer_is_its_formula(kind, form, garden, eight_tokens, monkeypatch):
    """With r the residual and h the sub-layer's output: what each norm takes, of the last call."""
    encoder = garden.build(kind)
    encoder(encoder.inputs)
    disturb(encoder.variables)
    host = host_of(encoder)
    blocks = {id(block): block for block in host.blocks(encoder)}.values()
    sites = [site for block in blocks for site in host.sites(block)]
    add_adapters(encoder, AdapterConfig(4, "tanh", init_stddev=0.3, form=form))
    layers = {layer for s in sites for layer in (s.input.layer, s.end, s.after.layer)}
    seen = record(layers, monkeypatch)
    encoder(eight_tokens)
    for site, adapter in zip(sites, inserted_in(host, encoder), strict=True):
        end, norm = site.end, site.after.layer
        r = seen[site.input.layer, site.input.side]
        h = seen[end, "output"]
        if form != "after_norm" and not isinstance(end, tf_keras.layers.Dropout):
            h = type(end).plain_class.call(end, seen[end, "input"])
        plain = getattr(type(norm), "plain_class", type(norm))
        if form == "after_norm":
            expected = plain.call(norm, r + h + adapter.change(plain.call(norm, r + h)))
        elif form == "parallel":
            expected = plain.call(norm, r + h + adapter.change(r))
        else:
            expected = plain.call(norm, r + h * (1 + adapter.change(r)))
        np.testing.assert_allclose(seen[norm, "output"], expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("kind", "form"), [*((k, "parallel") for k in KINDS), *OTHERS])
def test_zero_adapters_are_the_base_and_removal_gives_it_back(kind, form, garden, eight_tokens):
    encoder = garden.build(kind)
    before = encoder(eight_tokens)["sequence_output"]
    layers = {layer: type(layer) for layer in encoder.submodules}
    adapt(encoder, AdapterConfig(4, init_stddev=1e-3, form=form))
    near = np.abs(encoder(eight_tokens)["sequence_output"] - before).max()
    assert near < 5e-4
    for adapter in garden.adapters_in(encoder):
        adapter.set_weights([np.zeros_like(w) for w in adapter.get_weights()])
    zero = encoder(eight_tokens)["sequence_output"]
    if form != "after_norm":  # Which normalises what is normalised, of the same sum.
        np.testing.assert_array_equal(zero, before)
    np.testing.assert_allclose(zero, before, atol=1e-6)
    ka.remove_adapter(encoder)
    assert {layer: type(layer) for layer in encoder.submodules} == layers
    assert not any("wire" in vars(layer) or "adapter" in vars(layer) for layer in layers)
    np.testing.assert_array_equal(encoder(eight_tokens)["sequence_output"], before)


@each_variant
def test_parameters_are_pinned_and_frozen_variables_stay(config, garden, eight_tokens, request):
    encoder = garden.build("bert_v2")
    model = garden.classifier(encoder)
    adapt(encoder, config)
    named = encoder_variables(encoder)
    assert {id(v) for v in named.values()} == {id(v) for v in encoder.variables}
    inserted = {name: v for name, v in named.items() if "/adapter/" in name}
    count = sum(int(np.prod(v.shape)) for v in inserted.values())
    name = request.node.callspec.id
    assert count == PINNED[name] == ka.adapter_summary(encoder).inserted
    before = {id(v): v.numpy() for v in model.variables}
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf_keras.optimizers.Adam(1e-2, epsilon=1e-20), loss, run_eagerly=True)
    for _ in range(2):
        model.fit(eight_tokens, np.array([0, 1]), verbose=0)
    for name, variable in named.items():
        changed = not np.array_equal(variable.numpy(), before[id(variable)])
        trains = "/adapter/" in name or "layer_norm/" in name
        assert changed == trains or name.endswith("down/bias"), name


@each_variant
def test_adapter_files_hold_all_of_a_variant(config, garden, eight_tokens, tmp_path):
    encoder = garden.build("bert_v2")
    model = garden.classifier(encoder)
    adapt(encoder, config)
    disturb([v for n, v in encoder_variables(encoder).items() if "/adapter/" in n])
    ka.save_adapter(tmp_path, model, encoder)
    fresh_encoder = garden.build("bert_v2")
    fresh = garden.classifier(fresh_encoder)
    ka.load_adapter(tmp_path, fresh, fresh_encoder)
    np.testing.assert_array_equal(fresh(eight_tokens), model(eight_tokens))
    again = type(encoder).from_config(encoder.get_config())
    assert again.adapter_config == encoder.adapter_config == config
    assert sorted(encoder_variables(again)) == sorted(encoder_variables(encoder))
    # A checkpoint's way too.
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "checkpoint"))
    other = garden.classifier(adapt(garden.build("bert_v2"), config))
    tf.train.Checkpoint(model=other).read(path).assert_consumed()
    np.testing.assert_array_equal(other(eight_tokens), model(eight_tokens))


SAVED = [
    ("bert_v2", VARIANTS["multiplicative"], "model.keras"),
    ("bert_v2", VARIANTS["batch"], "model.keras"),
    ("mobilebert", AdapterConfig(4, form="parallel"), "model.keras"),
    ("bert", VARIANTS["sizes"], "model.h5"),
    ("albert", AdapterConfig(4, form="parallel", scale="learned"), "saved_model"),
    ("bert_v2", AdapterConfig(4, form="after_norm", norm="batch"), "saved_model"),
]


@pytest.mark.parametrize(("kind", "config", "form"), SAVED)
def test_models_are_saved_and_reloaded(kind, config, form, garden, eight_tokens, tmp_path):
    encoder = adapt(garden.build(kind), config)
    model = garden.classifier(encoder)
    disturb(encoder.trainable_variables)
    model.save(tmp_path / form)
    again = tf_keras.models.load_model(tmp_path / form)
    np.testing.assert_allclose(again(eight_tokens), model(eight_tokens), atol=1e-5)
    if form == "saved_model":  # Where no code of this package runs.
        raw = tf.saved_model.load(tmp_path / form)
        given = list(eight_tokens.values()) if isinstance(encoder.inputs, list) else eight_tokens
        np.testing.assert_allclose(raw(given), model(eight_tokens), atol=1e-5)


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_parallel_adapter_reads_what_its_sub_layer_does(norm_first, small_encoder, tokens):
    """Recomputes a block from its own sub-layers, also where one position is computed."""
    config = AdapterConfig(8, init_stddev=0.5, form="parallel", scale=4)
    encoder = add_adapters(small_encoder(norm_first=norm_first), config)
    block = encoder.transformer_layers[0]
    first, second = (inserted_at(site) for site in host_of(encoder).sites(block))
    inputs = tf.random.stateless_normal([2, 6, 16], seed=(0, 1))
    mask = tf.ones([2, 6, 6])
    given = block._attention_layer_norm(inputs) if norm_first else inputs
    # Past the wire: `call`, and not `__call__`.
    attention = block._attention_layer.call(query=given, value=given, attention_mask=mask)
    middle = inputs + attention + first.change(given)
    middle = middle if norm_first else block._attention_layer_norm(middle)
    given = block._output_layer_norm(middle) if norm_first else middle
    inner = tf.nn.gelu(block._intermediate_dense.call(given), approximate=False)
    expected = middle + block._output_dense(inner) + second.change(given)
    expected = expected if norm_first else block._output_layer_norm(expected)
    np.testing.assert_allclose(block([inputs, mask]), expected, atol=1e-5)
    one = block([inputs, mask], output_range=1)
    np.testing.assert_allclose(one, expected[:, :1], atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cls", [networks.BertEncoderV2, networks.BertEncoder])
def test_where_one_position_is_computed_it_is_the_same(cls, form, small_encoder, tokens):
    config = AdapterConfig(8, form=form)
    encoders = [small_encoder(cls, output_range=positions) for positions in (None, 1)]
    encoders[1].set_weights(encoders[0].get_weights())
    for encoder in encoders:
        add_adapters(encoder, config)
    disturb([v for n, v in encoder_variables(encoders[0]).items() if "/adapter/" in n])
    encoders[1].set_weights(encoders[0].get_weights())
    every, one = (encoder(tokens) for encoder in encoders)
    np.testing.assert_allclose(every["pooled_output"], one["pooled_output"], atol=1e-5)
    assert one["sequence_output"].shape[1] == 1


@pytest.mark.parametrize("form", ["after_norm", "parallel"])
def test_rematerialized_gradients_are_the_same_and_nothing_outlasts_a_call(
    form, small_encoder, tokens
):
    def gradients(again):
        tf_keras.utils.set_random_seed(3)
        encoder = small_encoder()
        encoder.set_weights([0.1 * np.cos(np.arange(w.size)).reshape(w.shape) for w in weights])
        if again:
            rematerialize(encoder)
        adapt(encoder, AdapterConfig(4, form=form, scale="learned"))

        @tf.function
        def compute():
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(encoder(tokens)["pooled_output"] ** 2)
            return tape.gradient(loss, encoder.trainable_variables)

        graph = weakref.ref(compute.get_concrete_function().graph)
        found = [tf.convert_to_tensor(g).numpy() for g in compute()]
        return found, graph, encoder

    weights = small_encoder().get_weights()
    (plain, graph, encoder), (other, *_) = gradients(False), gradients(True)
    for first, second in zip(plain, other, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-5)
    gc.collect()
    assert graph() is None
    del encoder


def test_mixed_precision_and_replicas(small_encoder, tokens):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        with strategy.scope():
            for form in ("sequential", *FORMS):
                encoder = adapt(small_encoder(), AdapterConfig(4, form=form, norm="batch"))
                outputs = encoder(tokens, training=True)["sequence_output"]
                assert outputs.dtype == tf.float32
                assert {v.dtype for v in encoder.variables} == {tf.float32}
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")


def test_norms_of_adapters_are_none_of_the_base(garden, eight_tokens):
    encoder = garden.build("bert_v2")
    model = garden.classifier(encoder)
    adapt(encoder, AdapterConfig(4, norm="layer"))
    ka.set_trainable(model, encoder, "layer_norm")
    assert not any("/adapter/" in name for name in garden.trained_names(model, encoder))
    assert all(norm.name != "norm" for norm in host_of(encoder).norms(encoder))


@pytest.mark.parametrize(
    ("kind", "changes", "config", "message"),
    [
        ("bert_v2", {"norm_first": True}, {"form": "after_norm"}, "normalise first"),
        ("albert", {}, {"size": (4, 2)}, "`size` must be one number for AlbertEncoder"),
        ("bert_v2", {}, {"size": (4, 2, 2)}, "one for each of the 2 layers"),
        ("bert_v2", {"output_range": 1}, {"gate": True}, "compute them all"),
        ("bert_v2", {}, {"activation": "gulu"}, "`activation`"),
    ],
)
def test_what_an_encoder_cannot_hold_is_refused_and_changes_nothing(
    kind, changes, config, message, garden
):
    encoder = garden.build(kind, **changes)
    own, built = type(encoder), encoder.built
    with pytest.raises(ValueError, match=message):
        adapt(encoder, AdapterConfig(**{"size": 4, **config}))
    assert type(encoder) is own
    assert encoder.built == built
    assert not garden.adapters_in(encoder)


def test_a_parallel_place_cannot_be_called_by_itself(small_encoder):
    encoder = add_adapters(small_encoder(), AdapterConfig(4, form="parallel"))
    with pytest.raises(ValueError, match="cannot be called by itself"):
        encoder.transformer_layers[0]._output_dropout(tf.zeros([1, 2, 16]))
