import numpy as np
import pytest
import tensorflow as tf
from official.nlp.data import squad_lib
from official.nlp.tools import tokenization

from train.objectives.spans.windows import WindowedQuestions, cut_windows
from train.tasks import squad
from train.tasks.forms import Spans


@pytest.fixture(scope="module")
def train(squad_folder):
    return squad.read(squad_folder, "2.0").train


def windowed(split, preprocess_of, seq_length, stride=128, query=64):
    return WindowedQuestions(split, preprocess_of(seq_length), Spans(stride, query))


@pytest.mark.parametrize(("seq_length", "stride", "query"), [(384, 128, 64), (96, 20, 16)])
def test_windows_are_those_of_berts_released_code(
    seq_length, stride, query, train, squad_folder, preprocess_of, minilm
):
    # It drops an answer with a no-break space.
    kept = [asked for asked in train.questions if asked.id != "cafe-7"]
    features = []
    squad_lib.convert_examples_to_features(
        squad_lib.read_squad_examples(str(squad_folder / "train-v2.0.json"), True, True),
        tokenization.FullTokenizer(str(minilm.vocab_file), do_lower_case=True),
        seq_length,
        stride,
        query,
        is_training=True,
        output_fn=features.append,
    )
    split = squad.Questions(train.contexts, kept)
    found = windowed(split, preprocess_of, seq_length, stride, query)
    inputs = found.inputs(tf.range(len(found), dtype=tf.int64))
    assert {tensor.dtype for tensor in inputs.values()} == {tf.int32}
    ours = ("input_word_ids", "input_mask", "input_type_ids")
    for name, theirs in zip(ours, ("input_ids", "input_mask", "segment_ids"), strict=True):
        expected = [getattr(feature, theirs) for feature in features]
        np.testing.assert_array_equal(inputs[name], expected)
    expected = [(feature.start_position, feature.end_position) for feature in features]
    labels = found.labels()
    assert labels.dtype == np.int32
    ids = [kept[index].id for index in found.windows.question]
    np.testing.assert_array_equal(labels, expected, err_msg=str(ids))


@pytest.mark.parametrize("seq_length", [48, 64, 384])
def test_labels_decode_to_the_gold_answers(seq_length, train, preprocess_of):
    found = windowed(train, preprocess_of, seq_length, query=32)
    question, start, _, first = (column.numpy() for column in found.windows)
    held = set()
    for window, (begin, end) in enumerate(found.labels()):
        asked = train.questions[question[window]]
        if begin == 0:
            assert end == 0
            continue
        shift = start[window] - first[window]
        offsets = found.offsets[asked.context]
        span = slice(offsets[begin + shift, 0], offsets[end + shift, 1])
        assert train.contexts[asked.context][span] == asked.answers[0].text
        assert span.start == asked.answers[0].start
        held.add(asked.id)
    # Windows overlap by half, so that each answer lies whole in one, however small they are.
    assert held == {asked.id for asked in train.questions if asked.answers}


def test_a_part_of_a_token_is_labelled_as_the_whole(preprocess_of):
    answer = squad.Answer("Japan", 4)
    split = squad.Questions(["The Japanese."], [squad.Question("q", "?", 0, (answer,))])
    found = windowed(split, preprocess_of, 16, query=4)
    np.testing.assert_array_equal(found.labels(), [[4, 4]])
    np.testing.assert_array_equal(found.offsets[0][1], [4, 12])


def test_every_token_is_shown_and_windows_overlap():
    questions, contexts = np.meshgrid(range(17), range(1, 200))
    form = Spans(doc_stride=8, max_query_length=16)
    windows = cut_windows(
        tf.constant(questions.ravel(), tf.int64), tf.constant(contexts.ravel(), tf.int64), 24, form
    )
    question, start, size, first = (column.numpy() for column in windows)
    assert np.all(size >= 1)
    assert np.all(first + size + 1 <= 24)
    ends = start + size
    follows = question[1:] == question[:-1]
    assert np.all(start[:-1][~follows] >= 0)
    assert np.all(start[1:][~follows] == 0)
    overlap = (ends[:-1] - start[1:])[follows]
    # Half of a window, rounded down; or what the stride leaves, if that is more.
    assert np.all(overlap >= size[:-1][follows] // 2)
    last = np.append(~follows, True)
    np.testing.assert_array_equal(ends[last], contexts.ravel())


def test_a_context_without_tokens_has_a_window(preprocess_of):
    split = squad.Questions(["", " \u200b"], [squad.Question(str(i), "a", i, ()) for i in (0, 1)])
    found = windowed(split, preprocess_of, 12, query=4)
    inputs = found.inputs(tf.constant([0, 1], tf.int64))
    np.testing.assert_array_equal(inputs["input_mask"].numpy().sum(axis=1), [4, 4])
    np.testing.assert_array_equal(found.labels(), np.zeros((2, 2)))


def test_impossible_settings(train, preprocess_of):
    with pytest.raises(ValueError, match=r"--max_seq_length must be at least 68, .*Received: 64"):
        windowed(train, preprocess_of, 64)
    with pytest.raises(ValueError, match=r"`doc_stride` must be at least 1\. Received: 0"):
        Spans(doc_stride=0)
