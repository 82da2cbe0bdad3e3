"""Raw text into an encoder's inputs; the same code trains and stands in the SavedModel.

The steps are those of BERT's own tokeniser: clean, set CJK characters apart, strip
accents and lower-case (uncased vocabularies), split at white space and punctuation, then
WordPiece. tensorflow-text's `BasicTokenizer` is not used because it folds compatibility
characters (the ellipsis, ligatures, fractions), which BERT's vocabulary keeps apart.
"""

from __future__ import annotations

import numbers
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text
from official.nlp.modeling import layers

from keras_adapters.vocabulary import read_vocabulary

_SPACES = r"[\t\n\r\pZ]"
_CONTROLS = r"[\pC\x{FFFD}]"
_CJK = (
    r"[\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{F900}-\x{FAFF}\x{20000}-\x{2A6DF}"
    r"\x{2A700}-\x{2CEAF}\x{2F800}-\x{2FA1F}]"
)
# BERT counts every ASCII symbol as punctuation, also those that Unicode does not.
_PUNCTUATION = r"[!-/:-@\[-`{-~\pP]"
# A character as readers see it: with the marks that combine with it.
_CHARACTER = r"(?s:.)\p{Mn}*"
_MAX_WORD_CHARACTERS = 100
_LONGEST = 2**31 - 1
_UNKNOWN = "[UNK]"
_SPECIAL_TOKENS = {
    "start_of_sequence_id": "[CLS]",
    "end_of_segment_id": "[SEP]",
    "padding_id": "[PAD]",
}


class BertPreprocessor:
    """Tokenises and packs texts for a BERT encoder, inside a TensorFlow graph.

    Args:
      vocab_file: a BERT `vocab.txt`, one token a line.
      lower_case: whether the vocabulary is uncased.
      seq_length: length of the packed sequences, special tokens included.

    Raises:
      OSError: the vocabulary file is missing (`FileNotFoundError`) or cannot be read.
      ValueError: the vocabulary lacks a special token, repeats a token or is none; or an
        argument is of another type, or `seq_length` is below 3.

    Example:
    >>> preprocess = BertPreprocessor("vocab.txt", lower_case=True, seq_length=128)
    >>> preprocess([tf.constant(["a text", "another"])])["input_word_ids"].shape
    TensorShape([2, 128])

    Attributes:
      pack: packs a list of one or two `<int32>[batch, (tokens)]` as a call does.
    """

    def __init__(self, vocab_file: str | os.PathLike, lower_case: bool, seq_length: int) -> None:
        if isinstance(seq_length, bool) or not isinstance(seq_length, numbers.Integral):
            raise ValueError(
                f"`seq_length` must be a whole number. Received: seq_length={seq_length!r}"
            )
        if not 3 <= seq_length <= _LONGEST:
            raise ValueError(
                f"`seq_length` must be at least 3, and at most {_LONGEST}. "
                f"Received: seq_length={seq_length}"
            )
        if not isinstance(lower_case, (bool, np.bool_)):
            raise ValueError(
                f"`lower_case` must be true or false. Received: lower_case={lower_case!r}"
            )
        if not isinstance(vocab_file, (str, os.PathLike)):
            raise ValueError(f"`vocab_file` must be a path. Received: vocab_file={vocab_file!r}")
        path = pathlib.Path(vocab_file)
        vocab = read_vocabulary(path)
        lacking = {*_SPECIAL_TOKENS.values(), _UNKNOWN} - set(vocab)
        if lacking:
            raise ValueError(f"{path} lacks the special tokens {sorted(lacking)}")
        self.lower_case = bool(lower_case)
        self.seq_length = int(seq_length)
        try:
            self._wordpiece = tf_text.FastWordpieceTokenizer(
                vocab=vocab,
                token_out_type=tf.int32,
                unknown_token=_UNKNOWN,
                no_pretokenization=True,
                # A character takes up to four bytes; the limit in characters is kept below.
                max_bytes_per_word=4 * _MAX_WORD_CHARACTERS,
            )
        except RuntimeError as error:  # A token is longer than the tokeniser can hold.
            raise ValueError(f"{path} is no vocabulary of WordPiece tokens: {error}") from error
        special = {role: vocab.index(token) for role, token in _SPECIAL_TOKENS.items()}
        self.pack = layers.BertPackInputs(self.seq_length, special_tokens_dict=special)

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Returns the WordPiece ids of texts, without special tokens.

        Args:
          texts: `<string>[batch]`, UTF-8; bytes that are not are dropped.

        Returns:
          `<int32>[batch, (tokens)]`.
        """
        words, _, _ = self._words(self._normalize(to_utf8(texts)))
        return self._wordpiece.tokenize(words).merge_dims(1, 2)

    def tokenize_with_offsets(
        self, texts: tf.Tensor
    ) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        """Returns the WordPiece ids of texts, and where in the texts each token stands.

        A token stands where the characters do that it was made of: whole characters, with
        the marks that combine with them, also if only a part of one went into the token.

        Args:
          texts: as `to_utf8` returns them, `<string>[batch]`.

        Returns:
          The ids as `tokenize` returns them, `<int32>[batch, (tokens)]`, and the tokens'
          starts and ends in the texts, in code points, `<int64>[batch, (tokens)]` each.
        """
        words, word_starts, word_ends = self._words(self._normalize(texts))
        ids, starts, ends = self._wordpiece.tokenize_with_offsets(words)
        word_of = ids.values.value_rowids()
        starts = tf.gather(word_starts.values, word_of) + starts.flat_values
        ends = tf.gather(word_starts.values, word_of) + ends.flat_values
        # What replaced a word that was too long has not its length.
        replaced = tf.gather(words.values == _UNKNOWN, word_of)
        ends = tf.where(replaced, tf.gather(word_ends.values, word_of), ends)
        ids = ids.merge_dims(1, 2)
        starts, ends = self._from_normalized(texts, ids.value_rowids(), starts, ends)
        return ids, ids.with_values(starts), ids.with_values(ends)

    def _from_normalized(
        self, texts: tf.Tensor, row: tf.Tensor, starts: tf.Tensor, ends: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Turns bytes of the normalised texts into code points of the texts.

        The normal form of a text is as long as those of its characters together.

        Args:
          texts: `<string>[batch]`.
          row: whose text each token is of, `<int64>[tokens]`.
          starts: the token's first byte in the normalised text, `<int64>[tokens]`.
          ends: the byte after its last, `<int64>[tokens]`.

        Returns:
          Starts and ends in the text, `<int64>[tokens]`.
        """
        # regex_split ends a text at U+0000; U+0001 is dropped like it.
        texts = tf.strings.regex_replace(texts, r"\x00", "\x01")
        characters = tf_text.regex_split(texts, _CHARACTER, _CHARACTER)
        distinct, which = tf.unique(characters.values)

        def summed(lengths: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            """Returns each character's end in all texts together, and each token's text's start."""
            bounds = tf.cumsum(tf.cast(tf.gather(lengths, which), tf.int64))
            row_starts = tf.gather(tf.pad(bounds, [[1, 0]]), characters.row_starts())
            return bounds, tf.gather(row_starts, row)

        bytes_, origin = summed(tf.strings.length(self._normalize(distinct)))
        first = tf.searchsorted(bytes_, origin + starts, side="right")
        last = tf.searchsorted(bytes_, origin + ends - 1, side="right")
        points, origin = summed(tf.strings.length(distinct, unit="UTF8_CHAR"))
        return tf.gather(tf.pad(points, [[1, 0]]), first) - origin, tf.gather(points, last) - origin

    def _normalize(self, texts: tf.Tensor) -> tf.Tensor:
        """Cleans UTF-8 texts of any shape, and folds case and accents for uncased ones."""
        texts = tf.strings.regex_replace(texts, _SPACES, " ")
        texts = tf.strings.regex_replace(texts, _CONTROLS, "")
        texts = tf.strings.regex_replace(texts, _CJK, r" \0 ")
        if self.lower_case:
            texts = tf_text.normalize_utf8(texts, "NFD")
            texts = tf.strings.regex_replace(texts, r"\p{Mn}", "")
            texts = tf.strings.lower(texts, encoding="utf-8")
        return texts

    def _words(self, texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.RaggedTensor, tf.RaggedTensor]:
        """Splits normalised texts; returns words and their starts and ends in bytes."""
        words, starts, ends = tf_text.regex_split_with_offsets(
            texts, delim_regex_pattern=f" +|{_PUNCTUATION}", keep_delim_regex_pattern=_PUNCTUATION
        )
        too_long = tf.strings.length(words.values, unit="UTF8_CHAR") > _MAX_WORD_CHARACTERS
        return words.with_values(tf.where(too_long, _UNKNOWN, words.values)), starts, ends

    def __call__(self, columns: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns an encoder's inputs for one text, or a pair of texts, per example.

        Args:
          columns: one or two `<string>[batch]`. Texts that are too long together lose
            tokens from the end, the longer one first.

        Returns:
          `input_word_ids`, `input_mask` and `input_type_ids`, each
          `<int32>[batch, seq_length]`.
        """
        return self.pack([self.tokenize(column) for column in columns])


def to_utf8(texts: tf.Tensor) -> tf.Tensor:
    """Puts U+FFFD, which tokenisation drops, in place of each byte that is not UTF-8."""
    return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
