"""A service of two replicas, asked over HTTP as TensorFlow Serving's clients do."""

import concurrent.futures
import http.client
import json
import os
import signal
import socket

import pytest

CLIENTS = 32


@pytest.fixture(scope="module")
def service(run_command, text_models, tmp_path_factory):
    """The process that serves the model of many tasks, and the port."""
    arguments = ["--port=0", "--replicas=2", "--max_request_bytes=10000", "--name=bert"]
    process = run_command(
        *("-m", "train.serve", f"--saved_model={text_models['many']}", *arguments),
        cwd=tmp_path_factory.mktemp("serve"),
        wait=False,
    )
    line = process.stdout.readline()
    assert "/v1/models/bert:predict" in line, process.communicate()
    yield process, int(line.split(":")[-2].split("/")[0])
    if process.poll() is None:
        process.terminate()
    process.communicate()


@pytest.fixture(scope="module")
def ask(service):
    """Sends a request; returns the status and the content of the response."""

    def ask(content=None, path="/v1/models/bert:predict", method="POST"):
        connection = http.client.HTTPConnection("127.0.0.1", service[1])
        body = content if content is None or isinstance(content, bytes) else json.dumps(content)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    return ask


def row(text, text_pair="", task="topic"):
    return {"text": text, "text_pair": text_pair, "task": task}


def test_rows_and_columns(ask):
    rows = [row("é世"), row("abc", "d", "stars"), row("", task="tone")]
    status, content = ask({"instances": rows})
    assert status == 200
    topic, stars, tone = content["predictions"]
    assert (topic["label"], topic["probabilities"], topic["value"]) == (
        "good",
        [0.98, 0.02, 0],
        None,
    )
    assert (stars["label"], stars["labels"], stars["value"]) == ("", ["", "", ""], 4.0)
    assert tone["labels"] == ["good", "bad", "neither"]
    columns = {name: [each[name] for each in rows] for name in rows[0]}
    status, content = ask({"inputs": columns}, "/v1/models/bert/versions/1:predict")
    assert status == 200
    assert content["outputs"]["value"] == [None, 4.0, None]
    assert ask({"signature_name": "tasks", "inputs": {}}) == (
        200,
        {"outputs": ["topic", "stars", "tone"]},
    )


def test_status_and_metadata(ask):
    status, content = ask(path="/v1/models/bert", method="GET")
    assert (status, content["model_version_status"][0]["state"]) == (200, "AVAILABLE")
    status, content = ask(path="/v1/models/bert/metadata", method="GET")
    signature = content["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert (status, content["model_spec"]["name"]) == (200, "bert")
    assert signature["inputs"]["task"]["dtype"] == "DT_STRING"
    assert signature["inputs"]["task"]["tensor_shape"]["dim"][0]["size"] == "-1"


@pytest.mark.parametrize(
    ("content", "path", "method", "status", "text"),
    [
        (b"{", None, "POST", 400, "the body is not JSON"),
        ({"instances": [row("x", task="none")]}, None, "POST", 400, "row 0: 'none' is not a task"),
        ({"instances": [row("a"), row("explode")]}, None, "POST", 400, "row 1: the model fails: "),
        (b"x" * 10_001, None, "POST", 400, "the body is longer than 10000 bytes"),
        (b"x" * 5_000_000, None, "POST", 400, "the body is longer than 10000 bytes"),
        ({}, "/v1/models/other:predict", "POST", 404, "Servable not found"),
        ({}, "/v1/models/bert/versions/2:predict", "POST", 404, "Servable not found"),
        ({}, "/elsewhere", "POST", 404, "there is nothing at /elsewhere"),
        (None, None, "GET", 405, "takes POST, not GET"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(content, path, method, status, text, ask):
    found, answer = ask(content, path or "/v1/models/bert:predict", method)
    assert (found, list(answer)) == (status, ["error"])
    assert answer["error"].startswith(text) or text in answer["error"]
    assert "\n" not in answer["error"]


def test_a_bad_row_fails_its_own_request_alone(ask):
    def request(number):
        text = "explode" if number % 4 == 0 else "x" * number
        return ask({"instances": [row(text, task="stars")]})

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(request, range(CLIENTS * 4)))
    for number, (status, content) in enumerate(answers):
        if number % 4 == 0:
            assert (status, list(content)) == (400, ["error"])
            assert "a harmful text" in content["error"]
        else:
            assert (status, content["predictions"][0]["value"]) == (200, float(number))


@pytest.mark.long
def test_a_replica_that_is_killed_takes_only_its_own_requests_along(ask):
    def process():
        return ask({"instances": [row("")]})[1]["predictions"][0]["process"]

    both = set()
    while len(both) < 2:
        both.add(process())
    killed = both.pop()

    def client(number):
        """Asks until the killed process has been replaced; counts what was not answered."""
        lost, newest = 0, None
        while newest in (None, killed, *both):
            try:
                status, content = ask({"instances": [row("x" * number, "y", "stars")]})
            except (OSError, http.client.HTTPException, ValueError):
                lost += 1  # What is no JSON, too: the proxy's words of a dead replica.
                continue
            if status != 200:
                assert status >= 500, content
                lost += 1
                continue
            (prediction,) = content["predictions"]
            assert prediction["value"] == number + 1.0
            newest = prediction["process"]
        return lost

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(client, number) for number in range(CLIENTS)]
        os.kill(int(killed), signal.SIGKILL)
        lost = [each.result() for each in clients]
    # A client has one request under way at a time: none loses more than the one in flight.
    assert max(lost) <= 1
    assert ask({"instances": [row("x")]})[0] == 200


def test_the_end_is_clean(service, text_models, run_command, tmp_path):
    process, port = service
    taken = run_command(
        "-m", "train.serve", f"--saved_model={text_models['many']}", f"--port={port}", cwd=tmp_path
    )
    assert taken.returncode == 1
    assert taken.err.startswith(f"error: --host=127.0.0.1 --port={port} cannot be served at: ")
    process.terminate()
    out, error = process.communicate()
    assert (process.returncode, error) == (0, "")
    assert "Traceback" not in out  # Ray tells there that a replica was killed.
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))


PROGRAM = """
import sys
sys.modules["tensorflow"] = None
if "--without_ray" in sys.argv:
    sys.argv.remove("--without_ray")
    sys.modules["ray"] = None
from train import command, serve
serve.define_flags()
command.run(serve.main)
"""


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--saved_model=none", "--without_ray"], "train.serve needs Ray: pip install 'keras-ada"),
        (["--saved_model=none"], "--saved_model=none is not a folder"),
        (["--saved_model=.", "more"], "unexpected arguments"),
        (["--saved_model=.", "--name=a/b"], "--name must be a word that can stand in a URL"),
    ],
)
def test_what_is_wrong_is_told_before_tensorflow_and_ray(arguments, error, run_command, tmp_path):
    done = run_command("-c", PROGRAM, *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.err.startswith(f"error: {error}")
