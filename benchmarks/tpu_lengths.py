"""Prints how many rows a batch of texts takes where texts share rows.

    python -m benchmarks.tpu_lengths --texts=glue_like --batch_size=32 --length=128

A process of its own for `benchmarks.tpu_compile`, which imports no TensorFlow.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from absl import app, flags

from benchmarks.tpu_grid import TEXTS
from keras_adapters.preprocessor import BertPreprocessor
from train.encoders.find import find_encoder
from train.fit.execution import plan_packing
from train.fit.input_pipeline import epoch_order
from train.fit.packing import lay_out
from train.objectives.text.source import TextSource
from train.tasks.files import DataFiles
from train.tasks.table import TASKS

FLAGS = flags.FLAGS
_ENCODER = "minilm_l6"  # Its vocabulary is BERT's.
_EXAMPLES, _MEDIAN, _SPREAD, _LEAST = 20_000, 36, 0.5, 5

flags.DEFINE_enum("texts", "glue_like", TEXTS, "Whose lengths.")
flags.DEFINE_integer("length", 128, "Tokens in a row.", lower_bound=1)
flags.DEFINE_integer("batch_size", 32, "Texts in a batch.", lower_bound=1)


def main(argv: Sequence[str]) -> None:
    """Prints the rows, and the share of padding without and with packing."""
    del argv
    lengths = read_lengths(FLAGS.texts, FLAGS.length)
    order = epoch_order(len(lengths), FLAGS.batch_size, seed=0, epoch=0)
    rows = int(lay_out(lengths, order, plan_packing(FLAGS.length, one_shape=True)).rows.max())
    used = lengths[order].sum() / order.size
    told = {
        "rows": rows,
        "padding": 1 - used / FLAGS.length,
        "packed_padding": 1 - used * FLAGS.batch_size / (rows * FLAGS.length),
    }
    print(json.dumps(told))


def read_lengths(texts: str, length: int) -> np.ndarray:
    """Returns the tokens of each text, `<int32>[texts]`, none of more than `length`."""
    if texts == "glue_like":
        drawn = np.random.default_rng(0).lognormal(np.log(_MEDIAN), _SPREAD, _EXAMPLES)
        return np.clip(drawn, _LEAST, length).astype(np.int32)
    files = find_encoder(_ENCODER)
    preprocess = BertPreprocessor(files.vocab_file, files.lower_case, length)
    return TextSource(TASKS[texts].read(DataFiles()).train, preprocess).lengths


if __name__ == "__main__":
    app.run(main)
