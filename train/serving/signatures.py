"""What a SavedModel takes and gives, read from its `saved_model.pb` without TensorFlow.

TensorFlow's classes for this file come with seconds of importing TensorFlow; TensorBoard,
which TensorFlow requires, carries the same messages alone.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message, message_factory
from tensorboard.compat.proto import meta_graph_pb2, types_pb2

DEFAULT = "serving_default"
TASK = "task"
# By the names of a signature's inputs, in the order of a row's columns.
_COLUMNS = (
    ("text",),
    ("text", "text_pair"),
    ("question", "context"),
    ("text", "text_pair", TASK),
)
# By the names of outputs that tell a kind: the first that are all there.
_KINDS = {
    "classification": {"label", "probabilities"},
    "spans": {"answer", "score"},
    "regression": {"value"},
}


@dataclasses.dataclass(frozen=True)
class Form:
    """What the signature `serving_default` of a model of this project takes and gives.

    Attributes:
      columns: names of the inputs, `<string>[batch]` each, in their order.
      kind: `classification`, `regression` or `spans`; or `many`, of a model of many tasks,
        which takes a column `task` too.
      in_bfloat16: whether it has variables of that precision.
    """

    columns: tuple[str, ...]
    kind: str
    in_bfloat16: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns that are texts: all but a task's name."""
        return tuple(name for name in self.columns if name != TASK)

    @property
    def optional(self) -> frozenset[str]:
        """The texts that a row need not have: of many tasks, some take pairs."""
        return frozenset({"text_pair"} if self.kind == "many" else ())


def check_folder(folder: str | os.PathLike) -> None:
    """Raises OSError if a folder does not hold a SavedModel."""
    if not pathlib.Path(folder).is_dir():
        raise NotADirectoryError(f"--saved_model={folder} is not a folder")
    if not pathlib.Path(folder, "saved_model.pb").is_file():
        raise FileNotFoundError(
            f"--saved_model={folder} holds no saved_model.pb. Name the folder saved_model of a "
            "run that exported its model, or of a bundle"
        )


def read_signatures(folder: str | os.PathLike) -> dict[str, Any]:
    """Returns the `SignatureDef` messages of a SavedModel by their names.

    Raises:
      OSError: the folder holds no SavedModel, or it cannot be read.
      ValueError: its saved_model.pb is damaged or has no signature `serving_default`.
    """
    return _signatures(folder, _read_graph(folder))


def _read_graph(folder: str | os.PathLike) -> Any:
    check_folder(folder)
    content = pathlib.Path(folder, "saved_model.pb").read_bytes()
    try:
        (graph, *_) = _saved_model_class().FromString(content).meta_graphs
    except (message.DecodeError, ValueError) as error:
        raise ValueError(
            f"--saved_model={folder} cannot be loaded: its saved_model.pb is damaged"
        ) from error
    return graph


def _signatures(folder: str | os.PathLike, graph: Any) -> dict[str, Any]:
    signatures = dict(graph.signature_def)
    if DEFAULT not in signatures:
        raise ValueError(f"--saved_model={folder} has no signature {DEFAULT}")
    return signatures


def read_form(folder: str | os.PathLike) -> Form:
    """Returns what a SavedModel of this project takes and gives.

    Raises:
      OSError: the folder holds no SavedModel, or it cannot be read.
      ValueError: it is damaged, or one of something else.
    """
    graph = _read_graph(folder)
    signature = _signatures(folder, graph)[DEFAULT]
    inputs, outputs = set(signature.inputs), set(signature.outputs)
    columns = next((names for names in _COLUMNS if set(names) == inputs), None)
    kind = next((kind for kind, names in _KINDS.items() if names <= outputs), None)
    if not columns or not kind:
        raise ValueError(
            f"--saved_model={folder} is not one that train.run or train.bundle exported: its "
            f"signature takes {_list(inputs)} and returns {_list(outputs)}"
        )
    in_bfloat16 = any(
        node.op == "VarHandleOp" and node.attr["dtype"].type == types_pb2.DT_BFLOAT16
        for node in graph.graph_def.node
    )
    return Form(columns, "many" if TASK in columns else kind, in_bfloat16)


def to_json(signatures: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `SignatureDef` messages as protobuf spells them in JSON."""
    return {
        name: json_format.MessageToDict(
            signature,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
        for name, signature in signatures.items()
    }


@functools.cache
def _saved_model_class() -> type:
    """Makes the one message that TensorBoard leaves out: saved_model.proto's SavedModel."""
    graphs = meta_graph_pb2.DESCRIPTOR
    file = descriptor_pb2.FileDescriptorProto(
        name="train/serving/saved_model.proto", package="train.serving", syntax="proto3"
    )
    file.dependency.append(graphs.name)
    field = file.message_type.add(name="SavedModel").field.add(name="meta_graphs", number=2)
    field.label, field.type = field.LABEL_REPEATED, field.TYPE_MESSAGE
    field.type_name = f".{graphs.message_types_by_name['MetaGraphDef'].full_name}"
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("train.serving.SavedModel"))


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
