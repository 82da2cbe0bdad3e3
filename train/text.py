"""Raw text into an encoder's inputs; the same code trains and stands in the SavedModel.

The steps are those of BERT's own tokeniser: clean, set CJK characters apart, strip
accents and lower-case (uncased vocabularies), split at white space and punctuation, then
WordPiece. tensorflow-text's `BasicTokenizer` is not used because it folds compatibility
characters (the ellipsis, ligatures, fractions), which BERT's vocabulary keeps apart.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_text as tf_text
from official.nlp.modeling import layers

_SPACES = r"[\t\n\r\pZ]"
_CONTROLS = r"[\pC\x{FFFD}]"
_CJK = (
    r"[\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{F900}-\x{FAFF}\x{20000}-\x{2A6DF}"
    r"\x{2A700}-\x{2CEAF}\x{2F800}-\x{2FA1F}]"
)
# BERT counts every ASCII symbol as punctuation, also those that Unicode does not.
_PUNCTUATION = r"[!-/:-@\[-`{-~\pP]"
_MAX_WORD_CHARACTERS = 100
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
      FileNotFoundError: there is no vocabulary file.
      ValueError: the vocabulary lacks a special token, or `seq_length` is below 3.

    Example:
    >>> preprocess = BertPreprocessor("vocab.txt", lower_case=True, seq_length=128)
    >>> preprocess([tf.constant(["a text", "another"])])["input_word_ids"].shape
    TensorShape([2, 128])
    """

    def __init__(self, vocab_file: str | os.PathLike, lower_case: bool, seq_length: int) -> None:
        if seq_length < 3:
            raise ValueError(f"`seq_length` must be at least 3. Received: seq_length={seq_length}")
        path = pathlib.Path(vocab_file)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: the encoder's vocabulary is read from it")
        vocab = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        vocab = [token.removesuffix("\r") for token in vocab]
        lacking = {*_SPECIAL_TOKENS.values(), _UNKNOWN} - set(vocab)
        if lacking:
            raise ValueError(f"{path} lacks the special tokens {sorted(lacking)}")
        self.lower_case = lower_case
        self.seq_length = seq_length
        self._wordpiece = tf_text.FastWordpieceTokenizer(
            vocab=vocab,
            token_out_type=tf.int32,
            unknown_token=_UNKNOWN,
            no_pretokenization=True,
            # A character takes up to four bytes; the limit in characters is kept below.
            max_bytes_per_word=4 * _MAX_WORD_CHARACTERS,
        )
        special = {role: vocab.index(token) for role, token in _SPECIAL_TOKENS.items()}
        self._pack = layers.BertPackInputs(seq_length, special_tokens_dict=special)

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Returns the WordPiece ids of texts, without special tokens.

        Args:
          texts: `<string>[batch]`, UTF-8; bytes that are not are dropped.

        Returns:
          `<int32>[batch, (tokens)]`.
        """
        texts = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
        texts = tf.strings.regex_replace(texts, _SPACES, " ")
        texts = tf.strings.regex_replace(texts, _CONTROLS, "")
        texts = tf.strings.regex_replace(texts, _CJK, r" \0 ")
        if self.lower_case:
            texts = tf_text.normalize_utf8(texts, "NFD")
            texts = tf.strings.regex_replace(texts, r"\p{Mn}", "")
            texts = tf.strings.lower(texts, encoding="utf-8")
        words = tf_text.regex_split(
            texts, delim_regex_pattern=f" +|{_PUNCTUATION}", keep_delim_regex_pattern=_PUNCTUATION
        )
        too_long = tf.strings.length(words.values, unit="UTF8_CHAR") > _MAX_WORD_CHARACTERS
        words = words.with_values(tf.where(too_long, _UNKNOWN, words.values))
        return self._wordpiece.tokenize(words).merge_dims(1, 2)

    def __call__(self, columns: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns an encoder's inputs for one text, or a pair of texts, per example.

        Args:
          columns: one or two `<string>[batch]`. Texts that are too long together lose
            tokens from the end, the longer one first.

        Returns:
          `input_word_ids`, `input_mask` and `input_type_ids`, each
          `<int32>[batch, seq_length]`.
        """
        return self._pack([self.tokenize(column) for column in columns])
