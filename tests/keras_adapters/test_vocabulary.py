import pytest

from keras_adapters.vocabulary import is_lower_case, read_vocabulary


@pytest.fixture
def vocab_file(tmp_path):
    def write(content):
        (tmp_path / "vocab.txt").write_bytes(content)
        return tmp_path / "vocab.txt"

    return write


def test_cased_and_uncased_vocabularies(odd, minilm):
    assert not is_lower_case(odd.cased)
    assert is_lower_case([*odd.uncased, "[unused1]"])
    assert is_lower_case(minilm.vocabulary)


@pytest.mark.parametrize("content", [b"[PAD]\na\n\xe2\x80\xa8", b"[PAD]\r\na\r\n\xe2\x80\xa8\r\n"])
def test_a_line_is_a_token(content, vocab_file):
    assert read_vocabulary(vocab_file(content)) == ["[PAD]", "a", "\u2028"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[PAD]\na\nb\na\n", r"vocab\.txt repeats the token 'a', in the lines 2 and 4$"),
        (b"[PAD]\n\na\n", r"vocab\.txt:2 must hold a token. Received: ''"),
        (b"[PAD]\na\n\n", r"vocab\.txt:3 must hold a token. Received: ''"),
        (b"", r"vocab\.txt:1 must hold a token"),
        (b"[PAD]\na\0\n", r"vocab\.txt:2 must hold a token. Received: 'a\\x00'"),
        (b"[PAD]\n\xff\n", r"vocab\.txt is not UTF-8"),
    ],
)
def test_a_vocabulary_that_is_none(content, message, vocab_file):
    with pytest.raises(ValueError, match=message):
        read_vocabulary(vocab_file(content))


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.txt is missing"):
        read_vocabulary(tmp_path / "none.txt")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_vocabulary(tmp_path)
