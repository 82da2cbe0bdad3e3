import threading

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from official.nlp.modeling import networks

import keras_adapters as ka
from keras_adapters import AdapterConfig, AdapterFileError, Method
from keras_adapters.adapter_file import AdapterFile, write_adapter
from keras_adapters.multi_task import MultiTaskModel
from keras_adapters.saving import collect

LOWEST = tf.float32.min
# What each task is trained by, its outputs, and what its head reads.
TASKS = {
    "wide": (AdapterConfig(8), 3, "mean"),
    "narrow": (AdapterConfig(2), 5, "pooler"),
    "value": (AdapterConfig(5, places=("feed_forward",), layers=(0, 2)), 1, "mean"),
    "attention": (AdapterConfig(8, places=("attention",)), 2, "pooler"),
    "still": (Method(AdapterConfig(4), "nothing"), 2, "mean"),
    "norms": ("layer_norm", 4, "pooler"),
    "head": ("feature_based", 2, "mean"),
}


def train(encoder, method, outputs, pooling, seed=0):
    """A single-task model whose trained weights have moved."""
    ka.adapt(encoder, method)
    given = encoder(encoder.inputs)
    pooled = given["pooled_output"]
    if pooling == "mean":
        inputs = encoder.inputs
        mask = inputs["input_mask"] if isinstance(inputs, dict) else inputs[1]
        pooled = tf_keras.layers.GlobalAveragePooling1D(dtype="float32")(
            given["sequence_output"], mask=mask
        )
    head = tf_keras.layers.Dense(outputs, dtype="float32", name="logits")
    model = tf_keras.Model(encoder.inputs, head(pooled))
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign_add(0.3 * rng.normal(size=variable.shape).astype("float32"))
    return model


def make_all(make_encoder, tasks=TASKS):
    """Single-task models and their adapters."""
    models, adapters = {}, {}
    for seed, (name, (method, outputs, pooling)) in enumerate(tasks.items()):
        encoder = make_encoder()
        models[name] = train(encoder, method, outputs, pooling, seed)
        adapters[name] = collect(models[name], encoder, {"pooling": pooling})
    return models, adapters


@pytest.fixture(scope="module")
def build_encoder():
    """Small encoders with the same weights, all of them random."""

    def make(cls=networks.BertEncoderV2, **kwargs):
        if cls is networks.BertEncoder:
            kwargs["dict_outputs"] = True
        encoder = cls(
            vocab_size=50,
            hidden_size=16,
            num_layers=3,
            num_attention_heads=2,
            max_sequence_length=32,
            type_vocab_size=2,
            inner_dim=24,
            inner_activation="gelu",
            **kwargs,
        )
        encoder(encoder.inputs)
        rng = np.random.default_rng(0)
        for variable in encoder.variables:
            variable.assign(0.3 * rng.normal(size=variable.shape))
        return encoder

    return make


@pytest.fixture(scope="module")
def single(build_encoder):
    return make_all(build_encoder)


def of_all_tasks(encoder, adapters):
    model = MultiTaskModel(encoder, max_tasks=9, max_outputs=5, insertion=AdapterConfig(8))
    for name, adapter in adapters.items():
        model.add(name, adapter)
    return model


@pytest.fixture
def multi(build_encoder, single):
    return of_all_tasks(build_encoder(), single[1])


@pytest.fixture(scope="module")
def unchanged(build_encoder, single):
    """One model for all tests that leave it as it was."""
    return of_all_tasks(build_encoder(), single[1])


def batch_of(names, length=7, seed=0):
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 50, (len(names), length)).astype("int32")
    ids[::2, length - 2 :] = 0
    return {
        "input_word_ids": tf.constant(ids),
        "input_mask": tf.constant((ids > 0).astype("int32")),
        "input_type_ids": tf.zeros_like(ids),
        "task": tf.constant(list(names)),
    }


def assert_as_single(multi, models, names, atol=1e-5, compute=None):
    batch = batch_of(names)
    logits = (compute or multi)(batch)["logits"]
    models = {name: tf.function(model) if compute else model for name, model in models.items()}
    tokens = {name: value for name, value in batch.items() if name != "task"}
    for name in set(names):
        expected = models[name](tokens)
        rows = [index for index, each in enumerate(names) if each == name]
        count = expected.shape[1]
        found, wanted = logits.numpy()[rows, :count], expected.numpy()[rows]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=atol, err_msg=name)
        assert np.all(logits.numpy()[rows, count:] == LOWEST)


MIXED = ["wide", "value", "head", "narrow", "wide", "still", "norms", "attention", "value", "wide"]


def test_each_row_is_as_by_its_own_model(unchanged, single):
    assert unchanged.names == tuple(sorted(TASKS))
    assert_as_single(unchanged, single[0], MIXED)
    assert_as_single(unchanged, single[0], MIXED[::-1], compute=tf.function(unchanged))
    assert_as_single(unchanged, single[0], ["norms"] * 3)


@pytest.mark.parametrize(
    ("form", "scale"),
    [
        ("after_norm", "learned"),
        ("parallel", 4.0),
        ("parallel_multiplicative", "per_channel"),
    ],
)
def test_each_row_is_as_by_its_own_model_in_other_forms(build_encoder, form, scale):
    tasks = {
        "wide": (AdapterConfig(8, form=form, scale=scale), 3, "mean"),
        "narrow": (AdapterConfig((2, 4, 1), form=form, scale=scale), 2, "pooler"),
        "norms": ("layer_norm", 4, "pooler"),
    }
    models, adapters = make_all(build_encoder, tasks)
    model = MultiTaskModel(build_encoder(), 4, 5, AdapterConfig(8, form=form, scale=scale))
    for name, adapter in adapters.items():
        model.add(name, adapter)
    assert_as_single(model, models, ["wide", "norms", "narrow", "wide"], 1e-4)
    plain = {name: value for name, value in batch_of([""] * 2).items() if name != "task"}
    base = model.encode(batch_of([""] * 2))["sequence_output"]
    np.testing.assert_allclose(base, build_encoder()(plain)["sequence_output"], atol=1e-5)


def test_each_row_is_as_by_its_own_model_in_bfloat16(build_encoder):
    tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    models, adapters = make_all(build_encoder)
    model = MultiTaskModel(build_encoder(), 8, 5, AdapterConfig(8))
    for name, adapter in adapters.items():
        model.add(name, adapter)
    stacked = [v for v in model.weights if "/adapter/" in v.name or "_adapter/" in v.name]
    assert stacked
    assert all(variable.dtype == tf.bfloat16 for variable in stacked)
    assert_as_single(model, models, MIXED, atol=1e-6)
    # What rewrites graphs rounds to bfloat16 elsewhere in each, also in two of one model.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        assert_as_single(model, models, MIXED, compute=tf.function(model))
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


def test_a_batch_of_the_same_rows_does_not_depend_on_their_order(unchanged):
    batch = batch_of(MIXED)
    order = np.random.default_rng(0).permutation(len(MIXED))
    shuffled = {name: tf.gather(value, order) for name, value in batch.items()}
    np.testing.assert_allclose(
        unchanged(shuffled)["logits"],
        unchanged(batch)["logits"].numpy()[order],
        rtol=1e-6,
        atol=1e-6,
    )


def test_a_row_without_a_task_is_the_base(unchanged, build_encoder):
    batch = batch_of(["", "wide", ""])
    tokens = {name: value for name, value in batch.items() if name != "task"}
    base = build_encoder()(tokens)["sequence_output"].numpy()
    found = unchanged.encode(batch)["sequence_output"].numpy()
    np.testing.assert_array_equal(found[[0, 2]], base[[0, 2]])
    assert np.abs(found[1] - base[1]).max() > 0.1
    np.testing.assert_array_equal(unchanged.encoder(tokens)["sequence_output"], base)
    given = unchanged(batch)
    assert np.all(given["logits"].numpy()[[0, 2]] == LOWEST)
    np.testing.assert_allclose(given["pooled"][2], base[2, :5].mean(axis=0), atol=1e-6)


def test_adding_replacing_and_dropping_trace_nothing_anew(build_encoder, single):
    models, adapters = single
    model = MultiTaskModel(build_encoder(), 2, 5, AdapterConfig(8))
    traces = []

    @tf.function(reduce_retracing=True)
    def compute(batch):
        traces.append(1)
        return model(batch)

    model.add("a", adapters["wide"])
    model.add("b", adapters["narrow"])
    assert_as_single(
        model, {"a": models["wide"], "b": models["narrow"]}, ["a", "b"] * 3, 1e-5, compute
    )
    inputs = {name: value.numpy() for name, value in batch_of(["a", "b", "a"]).items()}
    model.predict(inputs, verbose=0)
    before, predict = len(traces), model.predict_function
    model.replace("a", adapters["norms"])
    assert_as_single(
        model, {"a": models["norms"], "b": models["narrow"]}, ["a", "b"] * 3, 1e-5, compute
    )
    model.drop("b")
    model.add("c", adapters["value"])
    assert_as_single(
        model, {"a": models["norms"], "c": models["value"]}, ["c", "a"] * 3, 1e-5, compute
    )
    assert len(traces) == before
    inputs = {name: value.numpy() for name, value in batch_of(["c", "a", ""]).items()}
    found = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(found["logits"], model(inputs)["logits"], rtol=0, atol=1e-5)
    assert model.predict_function is predict
    assert predict.experimental_get_tracing_count() == 1


def test_replacing_goes_on_for_ever_in_a_full_model(build_encoder, single):
    models, adapters = single
    model = MultiTaskModel(build_encoder(), 1, 5, AdapterConfig(8))
    model.add("a", adapters["wide"])
    for name in ("narrow", "head", "norms", "value", "wide"):
        model.replace("a", adapters[name])
        assert_as_single(model, {"a": models[name]}, ["a", "a"])


@pytest.mark.parametrize("wrong", ["no such", "wide ", "Wide", "dropped", "ü"])
def test_an_unknown_name_is_an_error_everywhere(wrong, unchanged, single):
    unchanged.add("dropped", single[1]["wide"])
    unchanged.drop("dropped")
    batch = batch_of(["wide", wrong, "narrow"])
    for call in (unchanged, unchanged.encode):
        with pytest.raises(ValueError, match=f"task.*{wrong}"):
            call(batch)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must name tasks"):
        tf.function(unchanged)(batch)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must name tasks"):
        unchanged.predict({name: value.numpy() for name, value in batch.items()}, verbose=0)


def test_there_is_one_name_a_row(unchanged):
    batch = batch_of(["wide", "narrow"])
    for names in (["wide"], ["wide"] * 3):
        with pytest.raises(ValueError, match="one task a row"):
            unchanged({**batch, "task": tf.constant(names)})
        compute = tf.function(unchanged, reduce_retracing=True)
        compute(batch_of(["wide"] * 4))
        compute(batch_of(["wide"] * 5))
        with pytest.raises(tf.errors.InvalidArgumentError, match="one task a row"):
            compute({**batch, "task": tf.constant(names)})
    with pytest.raises(ValueError, match=r"must be a dictionary of .*'task'"):
        unchanged({name: value for name, value in batch.items() if name != "task"})
    with pytest.raises(ValueError, match="does not train"):
        unchanged(batch, training=True)
    with pytest.raises(ValueError, match="export"):
        unchanged.save("anywhere")


def test_threads_do_not_mix_their_rows(multi, single):
    failures = []

    def work(name):
        try:
            for _ in range(5):
                assert_as_single(multi, single[0], [name] * 3)
        except AssertionError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=[name]) for name in ("wide", "norms", "value")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def changed(adapter, **changes):
    tensors = {**adapter.tensors, **changes.pop("tensors", {})}
    tensors = {name: value for name, value in tensors.items() if value is not None}
    fields = {"method": adapter.method, "base": adapter.base, "metadata": adapter.metadata}
    return AdapterFile(**{**fields, **changes, "tensors": tensors})


def zeros(*shape):
    return np.zeros(shape, np.float32)


UP = "layer_1/feed_forward/adapter/up/bias"
MISFITS = {
    "too wide": (AdapterConfig(9), {}, "its size is 9, and the room's is 8"),
    "activation": (AdapterConfig(4, activation="relu"), {}, "activation is 'relu'"),
    "form": (AdapterConfig(4, form="parallel"), {}, "form is 'parallel', and the room's is 'seq"),
    "scale": (AdapterConfig(4, scale=4), {}, "scale is 4.0, and the room's is 1.0"),
    "norm": (AdapterConfig(4, norm="layer"), {}, "norm is 'layer', and the room's is None"),
    "gate": (AdapterConfig(4, gate=True), {}, "gate is True, and the room's is False"),
    "full": ("full", {}, "method 'full' trains all of the base"),
    "top layers": (Method(None, "top_layers", 1), {}, "trains top layers"),
    "lacks a tensor": (AdapterConfig(4), {"tensors": {UP: None}}, f"it lacks {UP}"),
    "another tensor": (AdapterConfig(4), {"tensors": {"x/y": zeros(2)}}, "no room for x/y"),
    "another shape": (AdapterConfig(4), {"tensors": {UP: zeros(15)}}, r"shape \[15\], not \[16\]"),
    "integers": (AdapterConfig(4), {"tensors": {UP: np.zeros(16, np.int32)}}, "int32"),
    "a norm": (
        "layer_norm",
        {"tensors": {"embeddings/layer_norm/beta": zeros(3)}},
        r"shape \[3\], and the room is \[16\]",
    ),
    "two layers": ("head", {"tensors": {"head/more/kernel": zeros(16, 2)}}, "one dense layer"),
    "batch norm": ("head", {"tensors": {"head/logits/mean": zeros(16)}}, "one dense layer"),
    "outputs": ("head", {"tensors": {"head/logits/kernel": zeros(16, 6)}}, r"room is \[16, 5\]"),
    "bias": ("head", {"tensors": {"head/logits/bias": zeros(1)}}, "bias has the shape"),
    "spans": ("head", {"metadata": {"pooling": None}}, "reads each position"),
    "no pooling": ("head", {"metadata": {}}, "give `pooling`"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_what_does_not_fit_changes_nothing(case, build_encoder, unchanged, single):
    method, changes, message = MISFITS[case]
    encoder = build_encoder()
    method = "feature_based" if method == "head" else method
    if method == "full" or case == "top layers":
        with tf.device("cpu"):
            adapter = collect(train(encoder, method, 2, "pooler"), encoder, {"pooling": "pooler"})
    else:
        adapter = collect(train(encoder, method, 2, "mean"), encoder, {"pooling": "mean"})
    adapter = changed(adapter, **changes)
    before = unchanged.get_weights()
    for change in (unchanged.add, unchanged.replace):
        name = "new" if change == unchanged.add else "wide"
        with pytest.raises(AdapterFileError, match=message):
            change(name, adapter)
    assert unchanged.names == tuple(sorted(TASKS))
    for value, was in zip(unchanged.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, was)
    assert_as_single(unchanged, single[0], MIXED)


def test_places_and_layers_beyond_the_room(build_encoder, single):
    model = MultiTaskModel(
        build_encoder(), 2, 5, AdapterConfig(8, places=("feed_forward",), layers=(0, 2))
    )
    model.add("value", single[1]["value"])
    assert_as_single(model, single[0], ["value", "value"])
    with pytest.raises(AdapterFileError, match=r"layers \[1\](.|\n)*places \['attention'\]"):
        model.add("wide", single[1]["wide"])
    model = MultiTaskModel(build_encoder(), 2, 5, insertion=None)
    model.add("norms", single[1]["norms"])
    assert_as_single(model, single[0], ["norms", "norms"])
    with pytest.raises(AdapterFileError, match="AdapterConfig, and the room is for nothing"):
        model.add("wide", single[1]["wide"])


def test_another_base_is_refused(multi, build_encoder, single):
    encoder = build_encoder()
    encoder.variables[0].assign_add(1e-6 * tf.ones_like(encoder.variables[0]))
    adapter = collect(train(encoder, AdapterConfig(4), 2, "mean"), encoder, {"pooling": "mean"})
    with pytest.raises(AdapterFileError, match="another pretrained encoder"):
        multi.add("other", adapter)
    assert "other" not in multi.names


def test_names(multi, single):
    adapter = single[1]["wide"]
    for name in ("", None, 3):
        with pytest.raises(ValueError, match="`name` must be"):
            multi.add(name, adapter)
    with pytest.raises(ValueError, match="`name` must be new"):
        multi.add("wide", adapter)
    for change in (lambda name: multi.replace(name, adapter), multi.drop):
        for name in ("no such", "", None):
            with pytest.raises(ValueError, match="`name` must be a task of this model: attention"):
                change(name)
    multi.add("eight", adapter)
    multi.add("nine", adapter)
    with pytest.raises(ValueError, match="room for 9 tasks"):
        multi.add("ten", adapter)
    assert len(multi.names) == 9


def test_adapters_are_read_from_files(multi, single, tmp_path):
    write_adapter(tmp_path / "a", single[1]["narrow"])
    multi.add("from a file", tmp_path / "a")
    assert_as_single(multi, {"from a file": single[0]["narrow"]}, ["from a file"])
    with pytest.raises(OSError, match="missing"):
        multi.replace("wide", tmp_path / "b")
    (tmp_path / "a" / "adapter.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(AdapterFileError):
        multi.replace("wide", tmp_path / "a")
    assert_as_single(multi, single[0], MIXED)


def test_a_pooling_that_is_given_and_an_encoder_without_a_head(multi, single, build_encoder):
    bare = changed(single[1]["wide"], metadata={})
    with pytest.raises(AdapterFileError, match="give `pooling`"):
        multi.add("given", bare)
    multi.add("given", bare, pooling="mean")
    assert_as_single(multi, {"given": single[0]["wide"]}, ["given"])
    with pytest.raises(ValueError, match="`pooling` must be one of"):
        multi.replace("given", bare, pooling="max")
    tensors = dict.fromkeys(("head/logits/kernel", "head/logits/bias"))
    multi.add("headless", changed(bare, tensors=tensors))
    batch = batch_of(["headless", "wide"])
    same = batch_of(["wide", "wide"])
    np.testing.assert_array_equal(
        multi.encode(batch)["sequence_output"], multi.encode(same)["sequence_output"]
    )
    assert np.all(multi(batch)["logits"].numpy()[0] == LOWEST)


def test_an_encoder_that_computes_one_position_serves_poolers_alone(build_encoder, single):
    model = MultiTaskModel(build_encoder(output_range=1), 3, 5, AdapterConfig(8))
    model.add("narrow", single[1]["narrow"])
    assert_as_single(model, single[0], ["narrow", "narrow"])
    with pytest.raises(AdapterFileError, match="'mean', which the encoder does not compute"):
        model.add("wide", single[1]["wide"])


def test_encoders_that_cannot_be_a_base(build_encoder, multi):
    adapted = ka.adapt(build_encoder(), AdapterConfig(4))
    for encoder, message in (
        (adapted, "must be the plain pretrained one"),
        (multi.encoder, "no inserted layers yet"),
        (tf_keras.layers.Dense(3), "must be one of these"),
    ):
        with pytest.raises(ValueError, match=message):
            MultiTaskModel(encoder)
    with pytest.raises(ValueError, match="no inserted layers yet"):
        ka.adapt(multi.encoder, AdapterConfig(4))
    plain = build_encoder()
    for arguments, message in (
        ({"max_tasks": 0}, "`max_tasks` must be an integer"),
        ({"max_outputs": "3"}, "`max_outputs` must be an integer"),
        ({"insertion": AdapterConfig(4, layers=(3,))}, "`layers` must be below"),
        ({"insertion": AdapterConfig(4, activation="log_softmax")}, "one unit at a time"),
        ({"insertion": AdapterConfig(4, norm="layer")}, "`norm` must be None"),
        ({"insertion": AdapterConfig(4, hidden_layers=2)}, "`hidden_layers` must be 1"),
        ({"insertion": AdapterConfig(4, gate=True)}, "`gate` must be False"),
    ):
        with pytest.raises(ValueError, match=message):
            MultiTaskModel(plain, **arguments)
    MultiTaskModel(plain, 1, 1, insertion=None)
    with pytest.raises(ValueError, match="no other MultiTaskModel"):
        MultiTaskModel(plain, 1, 1, insertion=None)


def test_it_exports(multi, tmp_path):
    batch = batch_of(MIXED)
    expected = multi(batch)["logits"]
    multi.export(str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(loaded.serve(batch)["logits"], expected, rtol=1e-6, atol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must name tasks"):
        loaded.serve(batch_of(["no such"]))
