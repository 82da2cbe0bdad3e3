"""Times `train.serve` under load, and holds each answer against the model's own.

    python -m benchmarks.serve_load --saved_model=runs/x/saved_model

It starts the service on this machine. Clients keep their connections and send the next
request when the last one is answered; a request has one text.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
from absl import app, flags

_SAVED_MODEL = flags.DEFINE_string(
    "saved_model", None, "A run's saved_model folder.", required=True
)
_CLIENTS = flags.DEFINE_integer("clients", 32, "Clients at a time.", lower_bound=1)
_REQUESTS = flags.DEFINE_integer("requests", 100, "Requests of each client.", lower_bound=1)
_REPLICAS = flags.DEFINE_integer("replicas", 1, "As of train.serve.", lower_bound=1)
_REPEATS = flags.DEFINE_integer("repeats", 3, "How often the whole is timed.", lower_bound=1)
_TEXTS = 64
_SEED = 0
_WORDS = ("profit", "oil", "bank", "grain", "trade", "ship", "rate", "the", "of", "rose", "mln")


def make_inputs(names: Sequence[str]) -> list[dict[str, str]]:
    """Returns rows of random words, 5 to 60 each."""
    random = np.random.default_rng(_SEED)

    def text() -> str:
        return " ".join(random.choice(_WORDS, random.integers(5, 61)))

    return [{name: text() for name in names} for _ in range(_TEXTS)]


def is_right(found: dict, expected: dict[str, np.ndarray]) -> bool:
    """Whether a prediction is the model's own, floats within what batches differ by."""
    for name, value in expected.items():
        if value.dtype.kind == "f":
            if not np.allclose(np.array(found[name], float), value, atol=1e-4, equal_nan=True):
                return False
        elif np.array(found[name]).tolist() != np.char.decode(value.astype(bytes)).tolist():
            return False
    return True


def measure(port: int, rows: list[dict], expected: list[dict]) -> tuple[float, np.ndarray, int]:
    """Returns requests per second, the latencies in milliseconds, and how many were wrong."""

    def client(number: int) -> tuple[list[float], int]:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        latencies, wrong = [], 0
        for request in range(_REQUESTS.value):
            index = (number * 7 + request) % len(rows)
            body = json.dumps({"instances": [rows[index]]})
            start = time.perf_counter()
            connection.request("POST", "/v1/models/model:predict", body)
            response = connection.getresponse()
            content = json.loads(response.read())
            latencies.append(1000 * (time.perf_counter() - start))
            is_good = response.status == 200
            (prediction,) = content["predictions"] if is_good else (None,)
            if is_good and not isinstance(prediction, dict):
                prediction = dict.fromkeys(expected[index], prediction)
            wrong += not (is_good and is_right(prediction, expected[index]))
        connection.close()
        return latencies, wrong

    with concurrent.futures.ThreadPoolExecutor(_CLIENTS.value) as pool:
        start = time.perf_counter()
        done = list(pool.map(client, range(_CLIENTS.value)))
        seconds = time.perf_counter() - start
    latencies = np.concatenate([each for each, _ in done])
    return latencies.size / seconds, latencies, sum(wrong for _, wrong in done)


def main(argv: Sequence[str]) -> None:
    """Prints a line for each repeat."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from train.serving.model import TextModel

    model = TextModel(_SAVED_MODEL.value)
    rows = make_inputs(model.form.columns)
    outputs = model.answer([[row[name] for row in rows] for name in model.form.columns])
    expected = [{name: value[index] for name, value in outputs.items()} for index in range(_TEXTS)]
    expected = [{name: np.asarray(value) for name, value in each.items()} for each in expected]
    command = [sys.executable, "-m", "train.serve", f"--saved_model={_SAVED_MODEL.value}"]
    command += ["--port=0", f"--replicas={_REPLICAS.value}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        port = int(service.stdout.readline().split(":")[-2].split("/")[0])
        try:
            measure(port, rows, expected)  # The first batches trace.
            for _ in range(_REPEATS.value):
                rate, latencies, wrong = measure(port, rows, expected)
                median, last = np.percentile(latencies, [50, 99])
                print(
                    f"{_CLIENTS.value} clients: {rate:.0f} requests/s, latency {median:.0f} ms "
                    f"(median), {last:.0f} ms (99 %), {wrong} wrong of {latencies.size}",
                    flush=True,
                )
        finally:
            service.terminate()


if __name__ == "__main__":
    app.run(main)
