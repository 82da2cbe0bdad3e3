import http.server
import json
import threading

import pytest
from huggingface_hub import constants

from train.encoders import find, hub, presets

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b"{}",
    "vocab.txt": b"[PAD]\n",
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"not needed",
    "onnx/model.safetensors": b"not needed",
}


class FakeHub(http.server.BaseHTTPRequestHandler):
    """As much of the hub's protocol as a download takes, with one repository, org/name."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path, _, _ = self.path.partition("?")
        self.server.requests.append(f"{self.command} {path}")
        if self.server.silent:
            self.server.over.wait()
            return
        if path in ("/api/models/org/name", "/api/models/org/name/revision/main"):
            siblings = [{"rfilename": name} for name in self.server.files]
            self._json({"id": "org/name", "sha": COMMIT, "siblings": siblings})
        elif path.startswith("/api/models/org/name/tree/"):
            self._json(
                [
                    {"type": "file", "path": name, "size": len(content), "oid": name}
                    for name, content in self.server.files.items()
                ]
            )
        elif path.startswith("/org/name/resolve/"):
            name = path.split("/", 5)[5]
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{name.replace("/", "-")}"'}
            self._reply(200, self.server.files[name], headers)
        else:
            self._reply(404, b"", {"X-Error-Code": "RepoNotFound"})

    def log_message(self, *_):
        pass

    def _json(self, value):
        self._reply(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _reply(self, status, body, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture(scope="module")
def running():
    """A hub on this machine; its address stays, for the client keeps it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        address = f"http://127.0.0.1:{server.server_port}"
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr(constants, "ENDPOINT", address)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def server(running, monkeypatch, tmp_path):
    """The hub with its one repository, and an empty cache."""
    running.requests, running.silent, running.files = [], False, dict(FILES)
    running.over = threading.Event()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield running
    running.over.set()


def test_only_the_files_that_are_read_are_fetched_and_only_once(server):
    folder = hub.fetch("org/name")
    fetched = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert fetched == {"config.json", "vocab.txt", "model.safetensors"}
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    server.requests.clear()
    assert hub.fetch("org/name") == folder
    assert server.requests == []


def test_what_is_missing_in_the_cache_is_fetched(server):
    (hub.fetch("org/name") / "model.safetensors").unlink()
    assert (hub.fetch("org/name") / "model.safetensors").read_bytes() == b"weights"


def test_a_repository_without_safetensors_is_refused_before_any_download(server):
    del server.files["model.safetensors"]
    with pytest.raises(FileNotFoundError, match=r"org/name has no model.safetensors.*Convert it"):
        hub.fetch("org/name")
    assert server.requests == ["GET /api/models/org/name"]


def test_a_repository_that_does_not_exist(server):
    with pytest.raises(FileNotFoundError, match=r"^--encoder=org/gone: the Hugging Face Hub has "):
        find.find_encoder("org/gone")


def test_a_hub_that_does_not_answer_is_given_up(server, monkeypatch):
    server.silent = True  # To the end of the test.
    monkeypatch.setattr(hub, "_SECONDS", 0.2)
    with pytest.raises(FileNotFoundError, match=r"cannot be fetched.*name a folder"):
        hub.fetch("org/name")
    assert server.requests


def test_without_a_network_there_is_one_error_that_names_the_folder_form(server, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    message = r"^--encoder=bert_base_cased: google-bert/bert-base-cased cannot be fetched .*folder"
    with pytest.raises(FileNotFoundError, match=message):
        find.find_encoder("bert_base_cased")


def test_presets_of_the_hub():
    repositories = presets.REPOSITORIES
    assert repositories["bert_base_uncased"] == "google-bert/bert-base-uncased"
    assert repositories["bert_small_l2_h128"] == "google/bert_uncased_L-2_H-128_A-2"
    assert repositories["bert_small_l12_h768"] == "google/bert_uncased_L-12_H-768_A-12"
    assert len([name for name in repositories if name.startswith("bert_small")]) == 24
