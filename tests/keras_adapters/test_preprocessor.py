import json
import unicodedata

import numpy as np
import pytest
import tensorflow as tf

from keras_adapters.preprocessor import BertPreprocessor

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "##b", "Cafe", "Café", "cafe", "c"]
CLS, SEP, A, B = 2, 3, 4, 5


@pytest.fixture
def vocab_file(tmp_path):
    def write(tokens=VOCAB, newline="\n"):
        path = tmp_path / "vocab.txt"
        path.write_bytes((newline.join(tokens) + newline).encode())
        return path

    return write


def ids(preprocess, *columns):
    packed = preprocess([tf.constant(column) for column in columns])
    lengths = packed["input_mask"].numpy().sum(axis=1)
    word_ids = packed["input_word_ids"].numpy()
    return [row[:n].tolist() for row, n in zip(word_ids, lengths, strict=True)]


def test_ids_equal_those_of_the_reference_tokenizer(minilm, fixtures):
    expected = json.loads((fixtures / "token_ids.json").read_text())
    preprocess = BertPreprocessor(minilm.vocab_file, lower_case=True, seq_length=512)
    found = dict(zip(expected, ids(preprocess, list(expected)), strict=True))
    assert found == expected


def test_packing_one_text(vocab_file):
    preprocess = BertPreprocessor(vocab_file(), lower_case=True, seq_length=5)
    packed = preprocess([tf.constant(["a bb", "", "a a a a a a"])])
    assert {tensor.dtype for tensor in packed.values()} == {tf.int32}
    np.testing.assert_array_equal(
        packed["input_word_ids"],
        [[CLS, A, B, 6, SEP], [CLS, SEP, 0, 0, 0], [CLS, A, A, A, SEP]],
    )
    np.testing.assert_array_equal(
        packed["input_mask"], [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]
    )
    assert not np.any(packed["input_type_ids"])


def test_packing_a_pair_cuts_the_longer_text_first(vocab_file):
    preprocess = BertPreprocessor(vocab_file(), lower_case=True, seq_length=8)
    packed = preprocess([tf.constant(["a a a a a a a"]), tf.constant(["b"])])
    np.testing.assert_array_equal(packed["input_word_ids"], [[CLS, A, A, A, A, SEP, B, SEP]])
    np.testing.assert_array_equal(packed["input_type_ids"], [[0, 0, 0, 0, 0, 0, 1, 1]])


def test_a_cased_vocabulary_keeps_case_and_accents(vocab_file):
    texts = ["Café cafe CAFE"]
    assert ids(BertPreprocessor(vocab_file(), False, 8), texts) == [[CLS, 8, 9, 1, SEP]]
    assert ids(BertPreprocessor(vocab_file(), True, 8), texts) == [[CLS, 9, 9, 9, SEP]]


def test_bytes_that_are_not_utf8_are_dropped(vocab_file):
    assert ids(BertPreprocessor(vocab_file(), True, 8), [b"a\xff \xfe b"]) == [[CLS, A, B, SEP]]


def test_a_vocabulary_with_windows_line_ends(vocab_file):
    preprocess = BertPreprocessor(vocab_file(newline="\r\n"), True, 8)
    assert ids(preprocess, ["a b"]) == [[CLS, A, B, SEP]]


def test_missing_vocabulary(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.txt is missing"):
        BertPreprocessor(tmp_path / "none.txt", True, 8)


def test_vocabulary_without_special_tokens(vocab_file):
    with pytest.raises(ValueError, match=r"\['\[CLS\]', '\[SEP\]'\]"):
        BertPreprocessor(vocab_file(["[PAD]", "[UNK]", "a"]), True, 8)


def test_too_short_a_sequence(vocab_file):
    with pytest.raises(ValueError, match="seq_length=2"):
        BertPreprocessor(vocab_file(), True, 2)


@pytest.mark.parametrize("seq_length", [np.int64(5), np.uint8(5), 5])
def test_numbers_of_numpy(seq_length, vocab_file):
    preprocess = BertPreprocessor(vocab_file(), np.bool_(True), seq_length)
    assert ids(preprocess, ["A b"]) == [[CLS, A, B, SEP]]


@pytest.mark.parametrize(
    "seq_length", [True, np.bool_(True), 5.0, np.float32(5), "5", None, [5], np.array([5]), 2**31]
)
def test_a_length_that_is_none(seq_length, vocab_file):
    with pytest.raises(ValueError, match="`seq_length` must be"):
        BertPreprocessor(vocab_file(), True, seq_length)


@pytest.mark.parametrize("lower_case", ["false", None, 1, 0, []])
def test_a_lower_case_that_is_none(lower_case, vocab_file):
    with pytest.raises(ValueError, match="`lower_case` must be true or false"):
        BertPreprocessor(vocab_file(), lower_case, 8)


@pytest.mark.parametrize("path", [None, 3, b"vocab.txt", ["vocab.txt"]])
def test_a_path_that_is_none(path):
    with pytest.raises(ValueError, match="`vocab_file` must be a path"):
        BertPreprocessor(path, True, 8)


def test_a_vocabulary_that_is_a_folder(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        BertPreprocessor(tmp_path, True, 8)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([*VOCAB, "a"], "repeats the token 'a', in the lines 5 and 12"),
        ([*VOCAB, "##b"], "repeats the token '##b', in the lines 7 and 12"),
        ([*VOCAB, ""], "vocab.txt:12 must hold a token"),
        ([*VOCAB, "x" * 300], "vocab.txt is no vocabulary of WordPiece tokens: .*max supported"),
        ([*VOCAB, "a\0"], "vocab.txt:12 must hold a token"),
    ],
)
def test_a_vocabulary_that_is_none(tokens, message, vocab_file):
    with pytest.raises(ValueError, match=message):
        BertPreprocessor(vocab_file(tokens), True, 8)


@pytest.mark.parametrize("lower_case", [True, False])
def test_tokens_stand_where_their_characters_do(lower_case, minilm, fixtures):
    texts = [*json.loads((fixtures / "token_ids.json").read_text()), "x" * 120 + " Café"]
    preprocess = BertPreprocessor(minilm.vocab_file, lower_case, seq_length=8)
    ids, starts, ends = preprocess.tokenize_with_offsets(tf.constant(texts))
    np.testing.assert_array_equal(ids.values, preprocess.tokenize(tf.constant(texts)).values)
    vocab = minilm.vocab_file.read_text(encoding="utf-8").split("\n")
    for text, *tokens in zip(texts, ids.to_list(), starts.to_list(), ends.to_list(), strict=True):
        for token, start, end in zip(*tokens, strict=True):
            place = unicodedata.normalize("NFD", text[start:end]).lower()
            place = "".join(c for c in place if unicodedata.category(c)[0] not in "MC")
            found = "".join(c for c in vocab[token] if unicodedata.category(c)[0] != "M")
            # A token can be a part of a character: a letter of a syllable of Hangul.
            assert found == "[UNK]" or found.removeprefix("##") in place, (text, place)
            assert found == "[UNK]" or len(place) <= 3 * len(found), (text, place)


def test_offsets_of_marks_parts_and_what_is_dropped(vocab_file):
    preprocess = BertPreprocessor(vocab_file(), lower_case=True, seq_length=8)
    text = "\u200bA\u0301B\u0300\u200b  ≠\u0303b東" + "x" * 101 + "!b"
    _, starts, ends = preprocess.tokenize_with_offsets(tf.constant(["c", "", text, "bb"]))
    places = [text[start:end] for start, end in zip(starts[2], ends[2], strict=True)]
    assert places == ["A\u0301", "B\u0300", "≠\u0303", "b", "東", "x" * 101, "!", "b"]
    np.testing.assert_array_equal(starts[3], [0, 1])
    np.testing.assert_array_equal(ends[3], [1, 2])


@pytest.mark.parametrize("lower_case", [True, False])
def test_a_text_is_normalised_to_as_many_bytes_as_its_characters(lower_case, vocab_file):
    # What offsets rest on; here for each code point that there is.
    points = [chr(point) for point in range(1, 0x110000) if not 0xD800 <= point < 0xE000]
    preprocess = BertPreprocessor(vocab_file(), lower_case, seq_length=8)
    alone = tf.strings.length(preprocess._normalize(tf.constant(points))).numpy()
    rows = range(0, len(points), 1000)
    texts = tf.constant(["".join(points[row : row + 1000]) for row in rows])
    together = tf.strings.length(preprocess._normalize(texts))
    np.testing.assert_array_equal(together, np.add.reduceat(alone, rows))
