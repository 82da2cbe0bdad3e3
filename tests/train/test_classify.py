"""What the command prints of SavedModels with the signatures that `train.run` exports."""

import os
import signal
import subprocess
import sys

import pytest

from train.classify import answer_all

CLASSES = ["good", "bad"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of SavedModels by kind; each answers by the lengths of its texts."""
    import tensorflow as tf

    def save(name, function, *columns, **options):
        folder = tmp_path_factory.mktemp("models") / name
        module = tf.Module()
        module.f = tf.function(
            function, [tf.TensorSpec([None], tf.string, name=column) for column in columns]
        )
        signatures = {options.get("signature", "serving_default"): module.f}
        tf.saved_model.save(module, folder, signatures)
        return str(folder)

    def length(*texts):
        return tf.cast(tf.add_n([tf.strings.length(t, "UTF8_CHAR") for t in texts]), tf.float32)

    def classify(*texts):
        bad = tf.minimum(length(*texts) / 100, 1)
        tf.debugging.assert_less_equal(tf.size(bad), 4, "more than a batch")
        probabilities = tf.stack([1 - bad, bad], axis=1)
        label = tf.gather(tf.constant(CLASSES), tf.argmax(probabilities, 1))
        return {"label": label, "probabilities": probabilities}

    def answer(question, context):
        answer = tf.strings.substr(context, 0, 2, unit="UTF8_CHAR")
        return {"answer": answer, "score": length(question), "null_score": length(context)}

    return {
        "text": save("text", lambda text: classify(text), "text"),
        "pair": save(
            "pair", lambda text, text_pair: classify(text, text_pair), *("text", "text_pair")
        ),
        "value": save("value", lambda text: {"value": length(text)}, "text"),
        "squad": save("squad", answer, "question", "context"),
        "other": save("other", lambda x: {"y": x}, "x"),
        "unsigned": save("unsigned", lambda text: {"value": length(text)}, "text", signature="f"),
    }


@pytest.fixture(scope="module")
def start():
    def start(folder, *arguments, **options):
        command = [sys.executable, "-m", "train.classify", f"--saved_model={folder}", *arguments]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(command, env=environment, **{**pipes, **options})

    return start


@pytest.fixture
def classify(monkeypatch, capfdbinary):
    """Returns what is printed of texts, or of lines of input, and the error's text, if any."""

    def run(folder, *texts, lines=b"", batch_size=4):
        read, write = os.pipe()
        os.write(write, lines)
        os.close(write)
        error = None
        with open(read) as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            try:
                answer_all(folder, texts, batch_size)
            except ValueError as raised:
                error = str(raised)
        return capfdbinary.readouterr().out, error

    return run


def test_batches_of_lines_keep_their_order(classify, models):
    lines = [b"x" * count for count in range(30)]
    out, status = classify(models["text"], lines=b"\n".join(lines))
    assert not status
    assert out.splitlines() == [b"good\t%.3f\t%s" % (1 - len(x) / 100, x) for x in lines]


@pytest.mark.parametrize(
    ("kind", "line", "expected"),
    [
        ("text", b"four", b"good\t0.960\tfour"),
        ("text", b"", b"good\t1.000\t"),
        ("text", b"a\tb", b"good\t0.970\ta\tb"),
        ("text", b"\xff\xfe\x80", b"good\t0.970\t\xff\xfe\x80"),
        ("text", "é世".encode(), "good\t0.980\té世".encode()),
        ("text", b"dos\r", b"good\t0.970\tdos"),
        ("pair", b"a\tb", b"good\t0.980\ta\tb"),
        ("pair", b"\t", b"good\t1.000\t\t"),
        ("value", b"four", b"4.000\tfour"),
        ("squad", b"who\tJim did", b"Ji\t3.000\twho\tJim did"),
        ("squad", b"\xff\t\xff\xff\xff", "\ufffd\ufffd\t1.000\t".encode() + b"\xff\t\xff\xff\xff"),
    ],
)
def test_each_kind_of_model(kind, line, expected, classify, models):
    assert classify(models[kind], lines=line + b"\n") == (expected + b"\n", None)


def test_arguments(classify, models):
    out, status = classify(models["value"], b"one", b"three", b"\xff")
    assert (out, status) == (b"3.000\tone\n5.000\tthree\n1.000\t\xff\n", None)


@pytest.mark.parametrize("kind", ["pair", "squad"])
@pytest.mark.parametrize("wrong", [b"no tab", b"", b"a\tb\tc"])
def test_a_wrong_number_of_tabs_is_told_after_the_answers_before_it(kind, wrong, classify, models):
    lines = [b"a\tb"] * 6 + [wrong] + [b"a\tb"] * 3
    out, status = classify(models[kind], lines=b"\n".join(lines))
    assert len(out.splitlines()) == 6
    assert status.startswith("line 7: this model takes ")
    assert f"Received {wrong.count(9)} tabs: '" in status


def test_what_the_model_cannot_compute_is_one_error(classify, models):
    _, status = classify(models["text"], lines=b"a\n" * 5, batch_size=5)
    assert status.startswith("the model fails: ")


def test_no_input(classify, models):
    assert classify(models["text"]) == (
        b"",
        "give texts as arguments, or one a line on standard input",
    )


def test_models_of_something_else(classify, models, tmp_path):
    def error(folder):
        out, error = classify(str(folder), b"text")
        assert out == b""
        return error

    assert "takes x and returns y" in error(models["other"])
    assert "no signature serving_default" in error(models["unsigned"])
    (tmp_path / "saved_model.pb").write_bytes(b"damaged")
    assert "cannot be loaded" in error(tmp_path)


@pytest.mark.parametrize(
    ("folder", "text"), [("none", "is not a folder"), (".", "holds no saved_model.pb")]
)
def test_folders_without_a_model_are_one_error(folder, text, start, tmp_path):
    process = start(tmp_path / folder, "text")
    _, error = process.communicate()
    assert process.returncode == 1
    assert error.startswith(b"error: --saved_model=")
    assert text in error.decode()


def test_answers_come_as_lines_do_and_nothing_else_is_printed(start, models):
    process = start(models["value"], stdin=subprocess.PIPE)
    for line in (b"one\n", b"three\n"):
        process.stdin.write(line)
        process.stdin.flush()
        assert process.stdout.readline().endswith(b"\t" + line)  # The input is still open.
    process.stdin.close()
    assert process.stdout.read() == b""
    assert process.stderr.read() == b""
    assert process.wait() == 0


def test_a_reader_that_has_enough_and_ctrl_c_end_it_silently(start, models):
    def own_signals():
        signal.signal(signal.SIGINT, signal.default_int_handler)

    closed = start(models["value"], stdin=subprocess.PIPE)
    interrupted = start(models["value"], preexec_fn=own_signals)
    for process in (closed, interrupted):
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"3.000\tone\n"
    closed.stdout.close()
    closed.stdin.write(b"two\n" * 10)
    closed.stdin.close()
    assert (closed.wait(), closed.stderr.read()) == (128 + signal.SIGPIPE, b"")
    interrupted.send_signal(signal.SIGINT)
    out, error = interrupted.communicate()
    assert (interrupted.returncode, out, error) == (130, b"", b"")


def test_the_log_comes_back_with_its_flag(start, models):
    _, error = start(models["value"], "--tensorflow_log", "one").communicate()
    assert b"oneDNN" in error or b"cpu_feature_guard" in error
