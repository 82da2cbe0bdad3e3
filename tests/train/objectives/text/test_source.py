import numpy as np
import pytest
import tensorflow as tf

from keras_adapters.preprocessor import BertPreprocessor
from train.fit.input_pipeline import batches
from train.fit.packing import Packing, lay_out
from train.objectives.text.source import TextSource
from train.tasks.data import Examples

COUNT, SEQ_LENGTH = 48, 24


@pytest.fixture
def preprocess(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(20))]))
    return BertPreprocessor(path, lower_case=True, seq_length=SEQ_LENGTH)


def texts(longest, seed):
    random = np.random.default_rng(seed)
    words = [f"w{i}" for i in range(20)]
    return [" ".join(random.choice(words, random.integers(0, longest))) for _ in range(COUNT)]


@pytest.fixture(params=["one text", "pairs"])
def columns(request):
    return (texts(30, 0),) if request.param == "one text" else (texts(14, 1), texts(14, 2))


@pytest.fixture
def source(columns, preprocess):
    return TextSource(Examples(columns, np.arange(COUNT, dtype=np.int32)), preprocess)


def test_gives_what_the_preprocessor_gives(source, columns, preprocess):
    indices = tf.constant([5, 0, 47, 5, 12])
    inputs, labels = source.gather(indices)
    expected = preprocess([tf.gather(column, indices) for column in columns])
    assert set(inputs) == set(expected)
    for name, value in inputs.items():
        assert value.dtype == tf.int32
        np.testing.assert_array_equal(value, expected[name])
    assert labels.numpy().tolist() == [5, 0, 47, 5, 12]
    lengths = tf.reduce_sum(preprocess(columns)["input_mask"], axis=1)
    np.testing.assert_array_equal(source.lengths, lengths)


def test_tokenises_once_and_not_before_it_is_read(columns, preprocess):
    calls = []

    class Counting:
        seq_length = SEQ_LENGTH

        def __call__(self, chunk):
            calls.append(1)
            return preprocess(chunk)

    source = TextSource(Examples(columns, None), Counting())
    assert len(source) == COUNT
    assert not calls
    order = np.arange(COUNT, dtype=np.int32).reshape(-1, 8)
    for _ in range(2):
        # The first to read it is traced for tf.data.
        data = batches(source, order, tf.distribute.get_strategy(), fixed_length=True)
        assert sum(int(tf.size(labels)) for _, labels in data) == COUNT
    assert len(calls) == 1  # Traced once.
    assert source.labels.numpy().tolist() == COUNT * [0]


def unpack(inputs, rows, parts, texts_in_part):
    """Returns each text's word and type ids, in the order of its positions."""
    word_ids, type_ids, numbers, positions = (
        np.reshape(inputs[name], [parts, -1])
        for name in ("input_word_ids", "input_type_ids", "text_numbers", "position_ids")
    )
    found = []
    for part in range(parts):
        for number in range(1, texts_in_part + 1):
            (at,) = np.nonzero(numbers[part] == number)
            at = at[np.argsort(positions[part][at])]
            assert positions[part][at].tolist() == list(range(len(at)))
            first = inputs["first_positions"][part * texts_in_part + number - 1]
            assert at[0] == first
            found.append((word_ids[part][at].tolist(), type_ids[part][at].tolist()))
        is_padding = numbers[part] == 0
        assert not word_ids[part][is_padding].any()
    return found


@pytest.mark.parametrize(("parts", "row_counts"), [(1, 1), (2, 9)])
def test_packs_each_text_whole(parts, row_counts, source, preprocess):
    order = np.random.default_rng(3).permutation(COUNT).astype(np.int32).reshape(4, 12)
    layout = lay_out(source.lengths, order, Packing(16, row_counts=row_counts), parts)
    data = batches(source, order, tf.distribute.get_strategy(), layout=layout)
    specs, _ = data.element_spec
    if row_counts == 1:
        shape = [parts * layout.rows[0], layout.length]
        assert specs["input_word_ids"].shape.as_list() == shape
    for step, (inputs, labels) in enumerate(data):
        assert labels.numpy().tolist() == order[step].tolist()
        rows = parts * layout.rows[step]
        assert all(inputs[name].shape[0] == rows for name in inputs if name != "first_positions")
        alone, _ = source.gather(tf.constant(order[step]))
        packed = unpack(inputs, rows, parts, 12 // parts)
        for index, (word_ids, type_ids) in enumerate(packed):
            length = source.lengths[order[step, index]]
            assert word_ids == alone["input_word_ids"][index, :length].numpy().tolist()
            assert type_ids == alone["input_type_ids"][index, :length].numpy().tolist()
