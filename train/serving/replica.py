"""One process that answers requests: what Ray Serve replicates."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
from collections.abc import Sequence
from typing import Any

from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from train.serving import rest
from train.serving.frozen import assume_frozen_weights
from train.serving.model import InputError, LoadedModel, limit_threads
from train.serving.signatures import to_json

_READ_IN_VAIN = 2**26  # Bytes of a request that is too large, so that its sender reads why.


@dataclasses.dataclass(frozen=True)
class Served:
    """What a replica serves, and how.

    Attributes:
      folder: the SavedModel's.
      name: the model's.
      version: the model's.
      max_batch_size: how many rows are computed at a time, at most.
      batch_wait_ms: how long the first row of a batch waits for others, in milliseconds.
      max_request_bytes: how long the body of a request may be.
      threads: how many the model computes on.
    """

    folder: str
    name: str
    version: int
    max_batch_size: int
    batch_wait_ms: float
    max_request_bytes: int
    threads: int


@dataclasses.dataclass(frozen=True)
class _Refused:
    """In place of a row's outputs: why there are none, and whether the row is to blame."""

    reason: str
    status: int


class Replica:
    """Answers requests in TensorFlow Serving's REST form.

    The rows of all requests that come together are computed together. A row that the model
    refuses fails its own request alone.

    Args:
      served: what, and how.
    """

    def __init__(self, served: Served) -> None:
        assume_frozen_weights(served.folder)
        limit_threads(served.threads)
        self._served = served
        self._model = LoadedModel(served.folder)
        self._json = to_json(self._model.messages)
        self._answer_row.set_max_batch_size(served.max_batch_size)
        self._answer_row.set_batch_wait_timeout_s(served.batch_wait_ms / 1000)
        # One: the model uses all threads that it may. Not the loop's: that answers Ray.
        self._computing = concurrent.futures.ThreadPoolExecutor(1)

    async def __call__(self, request: Request) -> Response:
        """Answers a request of any path and method."""
        headers = {}
        try:
            content, status = await self._respond(request), 200
        except rest.RequestError as error:
            content, status = {"error": str(error)}, error.status
            if error.allow:
                headers["Allow"] = error.allow
        return Response(rest.to_bytes(content), status, headers, "application/json")

    async def _respond(self, request: Request) -> dict[str, Any]:
        served = self._served
        path = request.scope["path"]
        asked = rest.route(request.method, path, served.name, served.version)
        if asked == "status":
            return rest.status(served.version)
        if asked == "metadata":
            return rest.metadata(served.name, served.version, self._json)
        wanted = rest.parse(await self._read(request), self._model.messages, self._model.tasks)
        rows = wanted.rows(self._model.messages)
        if not rows:
            outputs = await self._compute(self._run, wanted.signature, wanted.inputs)
            if isinstance(outputs, _Refused):
                raise rest.RequestError(outputs.reason, outputs.status)
            return rest.from_arrays(outputs, wanted.by_row)
        answers = await asyncio.gather(*(self._answer_row(row) for row in rows))
        for number, answer in enumerate(answers):
            if isinstance(answer, _Refused):
                raise rest.RequestError(f"row {number}: {answer.reason}", answer.status)
        return rest.from_rows(answers, wanted.by_row)

    async def _read(self, request: Request) -> bytes:
        """Returns the body of a request; one that is too large is not kept."""
        most = self._served.max_request_bytes
        chunks, size = [], 0
        async for chunk in request.stream():
            size += len(chunk)
            if size <= most:
                chunks.append(chunk)
            elif size > most + _READ_IN_VAIN:
                break
        if size > most:
            raise rest.RequestError(f"the body is longer than {most} bytes, send fewer rows")
        return b"".join(chunks)

    @serve.batch
    async def _answer_row(self, rows: Sequence[tuple[str, tuple]]) -> list[Any]:
        """Answers rows of several requests: outputs as JSON has them, or a `_Refused`."""
        return await self._compute(self._answer_rows, rows)

    def _answer_rows(self, rows: Sequence[tuple[str, tuple]]) -> list[Any]:
        answers: list[Any] = [None] * len(rows)
        for signature in dict.fromkeys(signature for signature, _ in rows):
            indices = [index for index, row in enumerate(rows) if row[0] == signature]
            own = self._answer_signature(signature, [rows[index][1] for index in indices])
            for index, answer in zip(indices, own, strict=True):
                answers[index] = answer
        return answers

    def _answer_signature(self, signature: str, rows: Sequence[tuple]) -> list[Any]:
        """Computes rows together, or halves of them where the model refuses some."""
        names = sorted(self._model.messages[signature].inputs)
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        outputs = self._run(signature, columns)
        if not isinstance(outputs, _Refused):
            return rest.to_rows(outputs)
        if len(rows) == 1 or outputs.status != 400:
            return [outputs] * len(rows)
        half = len(rows) // 2
        return [
            *self._answer_signature(signature, rows[:half]),
            *self._answer_signature(signature, rows[half:]),
        ]

    def _run(self, signature: str, inputs: Any) -> Any:
        try:
            return self._model.run(signature, inputs)
        except InputError as error:
            return _Refused(str(error), 400)
        except ValueError as error:
            return _Refused(str(error), 500)

    async def _compute(self, function: Any, *arguments: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._computing, function, *arguments)
