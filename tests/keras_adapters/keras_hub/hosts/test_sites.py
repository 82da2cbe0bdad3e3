"""Any Keras 3 model: which layers are sites, and how all of it is named."""

import functools

import keras
import numpy as np
import pytest

from keras_adapters import AdapterConfig
from keras_adapters.keras_hub.hosts.paths import layer_paths
from keras_adapters.keras_hub.hosts.sites import SitesHost
from keras_adapters.variables import name_variables, own_variables

WIDTH = 8


def graph_block(x, index):
    name = f"block_{index}"
    attended = keras.layers.MultiHeadAttention(2, 4, name=f"{name}_attention")(x, x)
    x = keras.layers.LayerNormalization(name=f"{name}_attention_norm")(x + attended)
    y = keras.layers.Dense(16, "gelu", name=f"{name}_mlp_dense_1")(x)
    y = keras.layers.Dense(WIDTH, name=f"{name}_mlp_dense_2")(y)
    return keras.layers.LayerNormalization(name=f"{name}_mlp_norm")(x + y)


def graph_transformer():
    """A Transformer of `keras.layers`, a functional model whose ends have no names."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(20, WIDTH)(tokens)
    for index in range(2):
        x = graph_block(x, index)
    x = keras.layers.Dense(WIDTH, "tanh")(x)
    return keras.Model(tokens, keras.layers.Dense(3)(x))


class Block(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = keras.layers.MultiHeadAttention(2, 4)
        self.norms = [keras.layers.LayerNormalization(), keras.layers.LayerNormalization()]
        self.mlp = {"up": keras.layers.Dense(16, "gelu"), "down": keras.layers.Dense(WIDTH)}
        self.dropout = keras.layers.Dropout(0.1)

    def call(self, x):
        x = self.norms[0](x + self.dropout(self.attention(x, x)))
        return self.norms[1](x + self.dropout(self.mlp["down"](self.mlp["up"](x))))


class Transformer(keras.Model):
    """The same as a class, none of whose layers has a name; it has a variable of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embedding = keras.layers.Embedding(20, WIDTH)
        self.blocks = [Block(), Block()]
        self.positions = self.add_weight(shape=(6, WIDTH), name="positions")
        self.head = keras.layers.Dense(3, name="logits")

    def call(self, tokens):
        x = self.embedding(tokens) + self.positions[: tokens.shape[-1]]
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def class_transformer():
    model = Transformer()
    model(np.ones((2, 6), "int32"))
    return model


def mobile_net():
    return keras.applications.MobileNetV3Small(
        weights=None, input_shape=(32, 32, 3), minimalistic=True, alpha=0.25, classes=3
    )


BUILD = {
    "functional": graph_transformer,
    "class": class_transformer,
    "mobile_net": mobile_net,
}
# One of each, which no test changes.
built = functools.cache(lambda kind: BUILD[kind]())
SITES = {
    "functional": ["*_attention", "*_mlp_dense_2"],
    "class": ["*/attention", "*/mlp/down"],
    "mobile_net": ["expanded_conv_*_project"],
}
each = pytest.mark.parametrize("kind", BUILD)


def paths_of(model):
    return [path for path, _ in layer_paths(model)]


def named(host, model):
    return {name: v.shape for name, v in name_variables(host.embedding_parts(model)).items()}


def sites_of(host, model):
    return [site for block in host.blocks(model) for site in host.sites(block)]


def test_paths_of_a_functional_model():
    found = paths_of(built("functional"))
    assert {"tokens", "embedding", "block_0_attention", "block_0_mlp_norm"} <= set(found)
    assert {"dense", "dense_1", "block_1_mlp_dense_1", "block_1_attention/query"} <= set(found)


def test_paths_of_a_class():
    found = paths_of(built("class"))
    assert "blocks/0" in found
    assert {"embedding", "blocks/1/attention", "blocks/1/norms/1", "blocks/0/mlp/up"} <= set(found)
    assert {"logits", "blocks/0/attention/query", "blocks/1/dropout"} <= set(found)


@pytest.mark.parametrize("kind", ["functional", "class"])
def test_names_do_not_depend_on_what_the_process_has_made(kind):
    first = built(kind)
    for _ in range(3):
        keras.layers.Dense(2)
    again = BUILD[kind]()
    assert paths_of(first) == paths_of(again)
    hosts = [SitesHost(model, SITES[kind]) for model in (first, again)]
    assert named(hosts[0], first) == named(hosts[1], again)
    assert hosts[0].architecture(first) == hosts[1].architecture(again)
    for one, other in zip(sites_of(hosts[0], first), sites_of(hosts[1], again), strict=True):
        assert (one.name, one.width) == (other.name, other.width)


def test_a_reloaded_model_is_the_same(tmp_path):
    model = graph_transformer()
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    first, second = SitesHost(model, "*_2"), SitesHost(again, "*_2")
    assert paths_of(model) == paths_of(again)
    assert first.architecture(model) == second.architecture(again)
    assert named(first, model) == named(second, again)


@each
def test_every_variable_is_in_one_part_whatever_the_sites_are(kind):
    model = built(kind)
    host = SitesHost(model, SITES[kind])
    variables = [v for _, layer in host.embedding_parts(model) for v in own_variables(layer)]
    assert sorted(map(id, variables)) == sorted(map(id, model.weights))
    assert len(named(host, model)) == len(variables)
    assert all(name.startswith("model/") for name in named(host, model))
    other = SitesHost(model, SITES[kind][-1])
    assert named(other, model) == named(host, model)
    assert other.architecture(model) == host.architecture(model)
    assert not [*host.top_parts(model)]
    assert host.pooler(model) is None


@each
def test_sites_are_the_layers_that_match_in_the_order_of_their_outputs(kind):
    model = built(kind)
    host = SitesHost(model, SITES[kind])
    path_of = {id(layer): path for path, layer in layer_paths(model)}
    found = [path_of[id(block)] for block in host.blocks(model)]
    expected = {
        "functional": ["block_0_attention", "block_0_mlp_dense_2"],
        "class": ["blocks/0/attention", "blocks/0/mlp/down"],
        "mobile_net": ["expanded_conv_project", "expanded_conv_1_project"],
    }[kind]
    if kind == "mobile_net":
        found = ["expanded_conv_project", *found]
        assert len(found) == 11
    assert found[:2] == expected
    for block, site in zip(host.blocks(model), sites_of(host, model), strict=True):
        assert site.end is block
        assert (site.place, site.after, "/" in site.name) == ("feed_forward", None, False)
        if kind != "mobile_net":
            assert site.width == WIDTH
        else:
            assert site.width == block.filters
    assert not any("call" in vars(layer) for _, layer in layer_paths(model))


def test_norms_are_the_layer_norms_and_no_batch_norms():
    model = built("functional")
    norms = SitesHost(model, SITES["functional"]).norms(model)
    assert sorted(norm.name for norm in norms) == [
        "block_0_attention_norm",
        "block_0_mlp_norm",
        "block_1_attention_norm",
        "block_1_mlp_norm",
    ]
    model = built("mobile_net")
    assert not SitesHost(model, SITES["mobile_net"]).norms(model)


def test_the_architecture_tells_what_the_variables_do_not():
    def told(activation="gelu", epsilon=1e-3, rate=0.1, swapped=False):
        inputs = keras.Input((4,))
        a = keras.layers.Dense(4, activation)(inputs)
        b = keras.layers.Dense(4)(a)
        b = keras.layers.Dropout(rate)(b)
        x = keras.layers.LayerNormalization(epsilon=epsilon)(a - b if swapped else b - a)
        model = keras.Model(inputs, x)
        return SitesHost(model, "dense").architecture(model)

    assert told() == told() == told(rate=0.2)
    assert (
        len({str(t) for t in (told(), told("relu"), told(epsilon=1e-5), told(swapped=True))}) == 4
    )


def sequential(*layers):
    return keras.Sequential([keras.Input((4,)), *layers])


class Holder(keras.layers.Layer):
    """A layer that gives what a function makes of two layers."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function
        self.first = keras.layers.Dense(4)
        self.second = keras.layers.Dropout(0.1)
        self.unused = keras.layers.Dropout(0.1)

    def call(self, x):
        return self.function(self, x)


def held(function):
    inputs = keras.Input((4,))
    outputs = Holder(function, name="holder")(inputs)
    return keras.Model(inputs, keras.tree.flatten(outputs)[0])


def adapter_of_its_own():
    model = held(lambda layer, x: layer.first(x))
    model.get_layer("holder").first._tracker.unlock()
    model.get_layer("holder").first.adapter = keras.layers.Dropout(0.1)
    return model


def channels_first():
    inputs = keras.Input((4, 8, 8))
    outputs = keras.layers.BatchNormalization(axis=1, name="norm")(inputs)
    return keras.Model(
        inputs, keras.layers.ZeroPadding2D(1, data_format="channels_first", name="pad")(outputs)
    )


def of_open_width():
    inputs = keras.Input((None,))
    return keras.Model(inputs, keras.layers.Activation("relu", name="act")(inputs))


def unnamed_variable():
    class Scale(keras.layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=shape[-1:])

        def call(self, x):
            return x * self.scale

    return sequential(Scale(name="scale"))


class TwinsWithOneName(keras.Model):
    def build(self, shape):
        twins = {keras.layers.Dense(4, name="twin"), keras.layers.Dense(4, name="twin")}
        for twin in twins:
            twin.build(shape)
            self._layers.append(twin)

    def call(self, x):
        for twin in self._layers:
            x = twin(x)
        return x


def twins_with_one_name():
    model = TwinsWithOneName()
    model(np.ones((2, 4)))
    return model


functional = functools.partial(built, "functional")
REFUSED = {
    "no pattern": (functional, [], r"must be a pattern .* Received: \[\]"),
    "no text": (functional, [3], r"must be a pattern .* Received: \[3\]"),
    "nothing": (
        functional,
        "block_*_mlp_dense_3",
        r"'block_\*_mlp_dense_3', which matches none of \d+; the nearest are .*_mlp_dense_",
    ),
    "one of two": (functional, ["dense", "mlp"], "'mlp', which matches none"),
    "inputs": (functional, "tokens", "'tokens', which matches none"),
    "not built": (Transformer, "*/attention", "must be built"),
    "a tuple": (
        lambda: held(lambda layer, x: (layer.first(x), x)),
        "holder",
        "'holder', which gives a tuple",
    ),
    "integers": (
        lambda: held(lambda layer, x: keras.ops.cast(layer.first(x), "int32")),
        "holder",
        r"'holder', which gives <int32>\[2, 4\]",
    ),
    "one number": (
        lambda: held(lambda layer, x: keras.ops.sum(layer.first(x), axis=-1)),
        "holder",
        r"'holder', which gives <float32>\[2\]",
    ),
    "two widths": (
        lambda: held(lambda layer, x: layer.second(layer.second(x)[:, :2])),
        "*/second",
        r"'holder/second', which gives <float32>\[2, 4\], <float32>\[2, 2\]",
    ),
    "not called": (
        lambda: held(lambda layer, x: layer.first(x)),
        "*/unused",
        "'holder/unused', which the model does not call",
    ),
    "open width": (of_open_width, "act", r"'act', which gives <float32>\[2, 8\], .*12\]"),
    "channels first": (channels_first, "pad", "channels_first"),
    "the same output": (
        lambda: held(lambda layer, x: layer.first(x)),
        "holder*",
        "'holder' only gives what 'holder/first' in it gives",
    ),
    "an adapter of its own": (adapter_of_its_own, "*/first", "attribute `adapter` of its own"),
    "an unnamed variable": (unnamed_variable, "scale", "variables with names"),
    "two of one name": (twins_with_one_name, "twin", "several have the path 'twin'|of the path"),
}


@pytest.mark.parametrize(("build", "sites", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_a_site_is_refused(build, sites, message):
    model = build()
    with pytest.raises(ValueError, match=message):
        SitesHost(model, sites)
    assert not any("call" in vars(layer) for _, layer in layer_paths(model))


def test_a_layer_inside_of_another_and_one_that_is_called_twice_may_be_sites():
    model = held(lambda layer, x: x + layer.second(layer.second(layer.first(x))))
    host = SitesHost(model, ["holder", "*/first", "*/second"])
    assert [site.name for site in sites_of(host, model)] == ["first", "second", "holder"]


def test_settings_that_need_a_sub_layer_are_refused():
    model = built("functional")
    host = SitesHost(model, SITES["functional"])
    host.check_insertion(model, AdapterConfig(4, layers=(1, 3)))
    with pytest.raises(ValueError, match='form must be "sequential" at `sites`'):
        host.check_insertion(model, AdapterConfig(4, form="parallel"))
    with pytest.raises(ValueError, match="`places` are of a Transformer's block"):
        host.check_insertion(model, AdapterConfig(4, places=("attention",)))


class TwoInputs(keras.Model):
    def __init__(self):
        super().__init__()
        self.table = keras.layers.Embedding(9, 4)
        self.dense = keras.layers.Dense(4)

    def call(self, tokens, features):
        return self.dense(features) + self.table(tokens)


def test_a_class_of_several_inputs_is_known_from_a_symbolic_call():
    model = TwoInputs()
    model(np.ones((2, 3), "int32"), np.ones((2, 3, 5), "float32"))
    with pytest.raises(
        ValueError, match=r"could not be called .* Call '\w+' once .* Received: TypeError"
    ):
        SitesHost(model, "dense")
    model(keras.Input((None,), dtype="int32"), keras.Input((None, 5)))
    host = SitesHost(model, ["dense", "table"])
    assert [site.width for site in sites_of(host, model)] == [4, 4]


class Flags(keras.Model):
    """A model whose inputs are a dictionary, and integers."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(4)

    def call(self, inputs):
        bits = keras.ops.bitwise_and(inputs["flags"], 1)
        return self.dense(keras.ops.cast(bits, "float32"))


def test_a_class_of_integers_is_called_with_integers():
    model = Flags()
    model({"flags": np.ones((2, 3), "int32")})
    assert [site.width for site in sites_of(SitesHost(model, "dense"), model)] == [4]
