"""The SavedModels as TensorFlow Serving sees them.

The server's binary is no Python package. What it does with a model is done here by plain
TensorFlow, behind the official service over gRPC: loads the graph that is tagged `serve`,
maps names to tensors by the signatures, and runs the graph.
"""

import concurrent.futures

import grpc
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text  # noqa: F401  The server links its ops.
import tf_keras
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from keras_adapters.adapter_file import read_adapter
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from keras_adapters.multi_task import MultiTaskModel
from keras_adapters.preprocessor import BertPreprocessor
from keras_adapters.saving import save_adapter
from train.objectives.model import build_classifier, build_span_model
from train.objectives.spans.decode import DecodeSettings
from train.objectives.spans.export import export_span_model
from train.objectives.text.bundle import BundledTask, export_bundle
from train.objectives.text.export import export_text_model
from train.tasks.forms import Spans

# Of tensorflow_text:ops_lib, which the server links.
LINKED = {
    "FastWordpieceTokenizeWithOffsets",
    "NormalizeUTF8",
    "NormalizeUTF8WithOffsetsMap",
    "FindSourceOffsets",
    "RegexSplitWithOffsets",
    "TFText>RoundRobinTrim",
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "##c", "é", "世"]
TEXT, PAIR, SQUAD = ("text",), ("text", "text_pair"), ("question", "context")
CLASSES = {
    "label": (tf.string, ()),
    "probabilities": (tf.float32, (3,)),
    "labels": (tf.string, (3,)),
}
# The inputs of each kind, and of its outputs the types and the sizes behind the batch.
SIGNATURES = {
    "text": (TEXT, CLASSES),
    "many": ((*PAIR, "task"), {**CLASSES, "value": (tf.float32, ())}),
    "pair": (PAIR, {"value": (tf.float32, ())}),
    "squad": (
        SQUAD,
        {
            "answer": (tf.string, ()),
            "start": (tf.int32, ()),
            "end": (tf.int32, ()),
            "score": (tf.float32, ()),
            "null_score": (tf.float32, ()),
        },
    ),
}
EXAMPLES = {
    "text": [["a b"], [""], ["é世 ac\0"], ["b " * 50]],
    "pair": [["a", "b"], ["", ""], ["世", "a b"], ["b", "a " * 50]],
    "many": [["a b", "", "topic"], ["", "", "stars"], ["é世", "", "topic"], ["b", "a", "stars"]],
    "squad": [["a", "b a é"], ["", ""], ["世", "a 世"], ["b", "ac b " * 50]],
}


class Server(prediction_service_pb2_grpc.PredictionServiceServicer):
    """What the stock server does with one model."""

    def __init__(self, folder):
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            loaded = tf.compat.v1.saved_model.loader.load(self.session, ["serve"], folder)
        self.signatures = loaded.signature_def

    def Predict(self, request, context):  # noqa: N802
        name = request.model_spec.signature_name or "serving_default"
        signature = self.signatures[name]
        if set(request.inputs) != set(signature.inputs):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "input names")
        feeds = {
            signature.inputs[key].name: tf.make_ndarray(value)
            for key, value in request.inputs.items()
        }
        fetches = {key: info.name for key, info in signature.outputs.items()}
        try:
            outputs = self.session.run(fetches, feeds)
        except tf.errors.InvalidArgumentError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
        response = predict_pb2.PredictResponse()
        response.model_spec.CopyFrom(request.model_spec)
        for key, value in outputs.items():
            dtype = signature.outputs[key].dtype
            response.outputs[key].CopyFrom(tf.make_tensor_proto(value, dtype))
        return response

    def GetModelMetadata(self, request, context):  # noqa: N802
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.CopyFrom(request.model_spec)
        found = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in self.signatures.items():
            found.signature_def[name].CopyFrom(signature)
        response.metadata["signature_def"].Pack(found)
        return response


@pytest.fixture(scope="module")
def encoder():
    from official.nlp.modeling import networks

    def make():
        tf_keras.utils.set_random_seed(0)  # The same base each time.
        made = networks.BertEncoderV2(
            vocab_size=len(WORDS),
            hidden_size=8,
            num_layers=1,
            num_attention_heads=2,
            max_sequence_length=16,
            inner_dim=8,
        )
        made(made.inputs)
        return made

    return make


@pytest.fixture(scope="module")
def folders(tmp_path_factory, encoder):
    folder = tmp_path_factory.mktemp("served")
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    preprocess = BertPreprocessor(folder / "vocab.txt", lower_case=True, seq_length=16)
    full = Method.named("full")
    text = build_classifier(encoder(), 3, full)
    export_text_model(folder / "text", text, preprocess, ("no", "yes", "é"))
    pair = build_classifier(encoder(), 1, full)
    export_text_model(folder / "pair", pair, preprocess, (), text_columns=2)
    spans = build_span_model(encoder(), full)
    form = Spans(doc_stride=4, max_query_length=4)
    export_span_model(folder / "squad", spans, preprocess, form, DecodeSettings(), True)
    export_many(folder, encoder)
    return {kind: str(folder / kind) for kind in SIGNATURES}


def export_many(folder, encoder):
    small = AdapterConfig(2)
    many = MultiTaskModel(encoder(), max_tasks=2, max_outputs=3, insertion=small)
    for name, outputs in (("topic", 3), ("stars", 1)):
        own = encoder()
        save_adapter(
            folder / name, build_classifier(own, outputs, Method(small)), own, {"pooling": "pooler"}
        )
        many.add(name, read_adapter(folder / name))
    tasks = [BundledTask("topic", ("no", "yes", "é"), 1, 16), BundledTask("stars", (), 2, 16)]
    export_bundle(folder / "many", many, folder / "vocab.txt", True, tasks)


@pytest.fixture(scope="module", params=SIGNATURES)
def served(request, folders):
    """The kind of a model, a stub of the service that serves it, and what it loads as."""
    folder = folders[request.param]
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Server(folder), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        yield request.param, stub, tf.saved_model.load(folder)
    server.stop(None).wait()


def predict(stub, signature="serving_default", **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "model"
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    outputs = stub.Predict(request, wait_for_ready=True).outputs
    return {name: (value.dtype, tf.make_ndarray(value)) for name, value in outputs.items()}


def columns(kind, rows):
    return dict(zip(SIGNATURES[kind][0], zip(*rows, strict=True), strict=True))


def test_names_types_and_shapes_of_answers(served):
    kind, stub, loaded = served
    _, outputs = SIGNATURES[kind]
    for rows in (EXAMPLES[kind], EXAMPLES[kind][:1]):
        found = predict(stub, **columns(kind, rows))
        types = {
            name: (tf.as_dtype(dtype), value.shape[1:]) for name, (dtype, value) in found.items()
        }
        assert types == outputs
        assert {len(value) for _, value in found.values()} == {len(rows)}
        inputs = {name: tf.constant(column) for name, column in columns(kind, rows).items()}
        for name, value in loaded.signatures["serving_default"](**inputs).items():
            if value.dtype == tf.float32:
                np.testing.assert_allclose(found[name][1], value, atol=1e-5)
            else:
                np.testing.assert_array_equal(found[name][1], value)


def test_requests_may_be_batched_by_the_server(served):
    """As its batching does: joined along axis 0, computed, and split."""
    kind, stub, _ = served
    together = predict(stub, **columns(kind, EXAMPLES[kind]))
    for index, row in enumerate(EXAMPLES[kind]):
        alone = predict(stub, **columns(kind, [row]))
        for name, (_, value) in together.items():
            if value.dtype == np.float32:
                np.testing.assert_allclose(value[index], alone[name][1][0], atol=1e-5)
            else:
                np.testing.assert_array_equal(value[index], alone[name][1][0])


def test_metadata_say_that_axis_0_is_the_batch(served):
    kind, stub, _ = served
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "model"
    request.metadata_field.append("signature_def")
    answer = stub.GetModelMetadata(request, wait_for_ready=True)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(found)
    signature = found.signature_def["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    assert set(signature.inputs) == set(SIGNATURES[kind][0])
    others = {"tasks" if kind == "many" else "tokens", "__saved_model_init_op"}
    assert set(found.signature_def) == {"serving_default", *others}
    for name in {"serving_default", "tokens"} & set(found.signature_def):
        signature = found.signature_def[name]
        for info in (*signature.inputs.values(), *signature.outputs.values()):
            assert info.tensor_shape.dim[0].size == -1
            assert info.name


def test_other_signatures(served):
    kind, stub, loaded = served
    if kind == "many":
        ((dtype, names),) = predict(stub, "tasks").values()
        assert (dtype, sorted(names)) == (tf.string, [b"stars", b"topic"])
        return
    names = ("input_word_ids", "input_mask", "input_type_ids")
    tokens = dict.fromkeys(names, np.ones([2, 5], np.int32))
    found = predict(stub, "tokens", **tokens)
    expected = loaded.signatures["tokens"](**{k: tf.constant(v) for k, v in tokens.items()})
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert tf.as_dtype(found[name][0]) == value.dtype


def test_what_is_not_of_one_batch_is_an_invalid_argument(served):
    kind, stub, _ = served
    first, *others = SIGNATURES[kind][0]
    for other in others:
        with pytest.raises(grpc.RpcError, match="there must be as many of") as raised:
            predict(stub, **{name: ["a", "b"] for name in (first, *others)} | {other: ["a"]})
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    if kind == "many":
        with pytest.raises(grpc.RpcError, match="other") as raised:
            predict(stub, text=["a"], text_pair=[""], task=["other"])
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("kind", SIGNATURES)
def test_the_server_has_every_op_of_the_graph(kind, folders):
    with open(f"{folders[kind]}/saved_model.pb", "rb") as file:
        (graph,) = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs
    assert list(graph.meta_info_def.tags) == ["serve"]
    functions = graph.graph_def.library.function
    nodes = [*graph.graph_def.node, *(node for each in functions for node in each.node_def)]
    ops = {node.op for node in nodes} - {each.signature.name for each in functions}
    assert "MatMul" in ops
    assert {op for op in ops if not hasattr(tf.raw_ops, op)} <= LINKED
