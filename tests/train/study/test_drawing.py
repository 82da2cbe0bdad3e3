import io
import itertools
import sys

import numpy as np
import pytest

from train.study import drawing
from train.study.drawing import Series, chart, check_matplotlib, short


def pixels(figure):
    from matplotlib import image

    return image.imread(io.BytesIO(figure.png))[..., :3]


def draw(*series):
    return chart("name", "Title", "Caption.", series, ("across", "up"))


def test_methods_differ_without_colours_too():
    looks = [*drawing._LOOKS.values(), *drawing._FURTHER]
    for (_, *first), (_, *second) in itertools.combinations(drawing._LOOKS.values(), 2):
        assert first[0] != second[0]
        assert first[1] != second[1]
    assert len({(colour, marker) for colour, marker, _ in looks}) == len(looks)


def test_what_is_drawn_is_told_in_words():
    figure = draw(Series("a", "full", [1e3, 2e4], [1.0, 2.125]), Series("b", "x", [5], [3.0]))
    assert figure.alt == "Title. up against across. a: 1,000: 1.00, 20,000: 2.12. b: 5: 3.00"
    marked = Series("a", "adapters", [10, 20], [1.0, 2.0], marks=["8", "64"])
    assert "a: 8: 1.00, 64: 2.00" in draw(marked).alt


def test_spread_and_marks_are_drawn():
    plain = Series("a", "adapters", [10, 20], [1.0, 2.0])
    bars = Series("a", "adapters", [10, 20], [1.0, 2.0], [0.9, None], [1.1, None])
    marks = Series("a", "adapters", [10, 20], [1.0, 2.0], marks=["8", "64"])
    images = [pixels(draw(series)) for series in (plain, bars, marks)]
    for first, second in itertools.combinations(images, 2):
        assert first.shape != second.shape or not np.array_equal(first, second)


def test_more_series_than_there_are_looks():
    many = [Series(str(n), f"role {n}", [1, 2], [n, n + 1]) for n in range(40)]
    assert draw(*many).png


@pytest.mark.parametrize(
    ("number", "text"),
    [(500, "500"), (2e4, "20k"), (1.5e6, "1.5M"), (3e9, "3G"), (1e-3, "0.001"), (1e-7, "1e-7")],
)
def test_short_numbers(number, text):
    assert short(number) == text


def test_no_matplotlib_is_an_error_that_says_what_to_install(monkeypatch):
    check_matplotlib()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match="pip install 'keras-adapters\\[report\\]'"):
        check_matplotlib()
