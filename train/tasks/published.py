"""Sixteen of the paper's seventeen additional tasks, from the files as they were published.

Houlsby et al. 2019, section 3.3 and table 2; the seventeenth, 20 newsgroups, is packaged.
The paper's splits were drawn at random and are not published, so `cut_dev_and_test` cuts
train, dev and test here, in the paper's proportions.

The paper gives the number of examples of each; where leaving out rows makes the file's
number the paper's, they are left out here.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping

from train.tasks.data import Row, TaskData, cut_whole
from train.tasks.tables import named, quoted, read_lines, tab_separated, with_header

# Most of the files come from spreadsheets, some in Windows' encoding, and Python's cp1252
# knows a few bytes less than latin-1.
_ENCODINGS = ("utf-8", "cp1252", "latin-1")


@dataclasses.dataclass(frozen=True)
class Published:
    """One task's file.

    Args:
      files: the names that the file has been published under.
      text: the column that holds the text; rows without one are left out.
      label: the column that holds the label; rows without one are left out.
      origin: where it is published.
      layout: how the layout is known.
      header: of a tab-separated file without a header row, its columns; other files are
        comma-separated, with a header row.
      spellings: labels that are written in other ways, and their names.
      left_out: labels whose rows are left out.
    """

    files: tuple[str, ...]
    text: str
    label: str
    origin: str
    layout: str
    header: tuple[str, ...] | None = None
    spellings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def read(source: Published, data_dir: str | os.PathLike | None) -> TaskData:
    """Reads a task from its file in `data_dir`.

    Raises:
      OSError: the file is not there, and the text says where it is published; or it cannot
        be read.
      ValueError: a row is malformed, and its file and line are named; or there are too few,
        or all of one class.
    """
    path = _find(source, data_dir)
    return cut_whole(list(_rows(source, path)), path)


def _find(source: Published, data_dir: str | os.PathLike | None) -> pathlib.Path:
    for name in source.files if data_dir else ():
        path = pathlib.Path(data_dir, name)
        if path.is_file():
            return path
    where = f"There is none in --data_dir={data_dir}" if data_dir else "No --data_dir is given"
    raise FileNotFoundError(
        f"This task needs {' or '.join(source.files)}. {where}. It is published at "
        f"{source.origin}; put it in a folder and name that with --data_dir"
    )


def _rows(source: Published, path: pathlib.Path) -> Iterator[Row]:
    lines = _split_at_returns(read_lines(path, _ENCODINGS))
    if source.header:
        records = named(tab_separated(lines), source.header, path)
    else:
        records = with_header(quoted(lines, path), path)
    for line, record in records:
        missing = [column for column in (source.text, source.label) if column not in record]
        if missing:
            raise ValueError(f"{path}: there are no columns {missing} among {list(record)}")
        label = record[source.label].strip()
        label = source.spellings.get(label, label)
        if label and label not in source.left_out and record[source.text].strip():
            yield Row((record[source.text],), label, line)


def _split_at_returns(lines: Iterable[str]) -> Iterator[str]:
    """Ends lines at lone carriage returns too, as old spreadsheets write them."""
    for line in lines:
        for part in line.rstrip("\r\n").split("\r"):
            yield part + "\n"


_EVERYONE = (
    "https://www.figure-eight.com/data-for-everyone/ (Crowdflower's; now kept at "
    "https://data.world/crowdflower)"
)
_SEEN = "as in the first rows of public copies of the file"
_READ = "as in programs that read the file"

_POLITICAL = ("Political-media-DFE.csv",)
_PROGRESSIVE = ("progressive-tweet-sentiment.csv",)

SOURCES = {
    "crowdflower_airline": Published(
        files=("Airline-Sentiment-2-w-AA.csv",),
        text="text",
        label="airline_sentiment",
        origin=_EVERYONE,
        layout=_SEEN,
    ),
    "crowdflower_corporate_messaging": Published(
        files=("Corporate-messaging-DFE.csv",),
        text="text",
        label="category",
        origin=_EVERYONE,
        layout=_SEEN,
    ),
    "crowdflower_disasters": Published(
        files=("socialmedia-disaster-tweets-DFE.csv",),
        text="text",
        label="choose_one",
        origin=_EVERYONE,
        layout=_SEEN,
        left_out=("Can't Decide",),
    ),
    "crowdflower_economic_news_relevance": Published(
        files=("Full-Economic-News-DFE-839861.csv",),
        text="text",
        label="relevance",
        origin=_EVERYONE,
        layout=_READ,
        left_out=("not sure",),
    ),
    "crowdflower_emotion": Published(
        files=("text_emotion.csv",),
        text="content",
        label="sentiment",
        origin=_EVERYONE,
        layout=_READ,
    ),
    "crowdflower_global_warming": Published(
        files=("1377884570_tweet_global_warming.csv",),
        text="tweet",
        label="existence",
        origin=_EVERYONE,
        layout=_SEEN,
        spellings={"Y": "Yes", "N": "No"},
        left_out=("N/A",),
    ),
    "crowdflower_political_audience": Published(
        files=_POLITICAL, text="text", label="audience", origin=_EVERYONE, layout=_READ
    ),
    "crowdflower_political_bias": Published(
        files=_POLITICAL, text="text", label="bias", origin=_EVERYONE, layout=_READ
    ),
    "crowdflower_political_message": Published(
        files=_POLITICAL, text="text", label="message", origin=_EVERYONE, layout=_READ
    ),
    "crowdflower_primary_emotions": Published(
        files=("primary-plutchik-wheel-DFE.csv",),
        text="sentence",
        label="emotion",
        origin=_EVERYONE,
        layout=_SEEN,
    ),
    "crowdflower_progressive_opinion": Published(
        files=_PROGRESSIVE,
        text="tweet",
        label="q2_which_of_the_options_below_is_true_about_the_opinion_in_the_tweet",
        origin=_EVERYONE,
        layout=_READ,
    ),
    "crowdflower_progressive_stance": Published(
        files=_PROGRESSIVE,
        text="tweet",
        label="q1_from_reading_the_tweet_which_of_the_options_below_is_most_likely_to_be_true_"
        "about_the_stance_or_outlook_of_the_tweeter_towards_the_target",
        origin=_EVERYONE,
        layout=_READ,
    ),
    "crowdflower_us_economic_performance": Published(
        files=("us-economic-newspaper.csv",),
        text="text",
        label="relevance",
        origin=_EVERYONE,
        layout=_READ,
        left_out=("not sure",),
    ),
    "customer_complaint_database": Published(
        files=("complaints.csv", "Consumer_Complaints.csv"),
        text="Consumer complaint narrative",
        label="Issue",
        origin="https://www.consumerfinance.gov/data-research/consumer-complaints/ (it grows; the "
        "paper's 183,334 complaints are those of its day)",
        layout=_READ,
    ),
    "news_aggregator_dataset": Published(
        files=("newsCorpora.csv",),
        text="TITLE",
        label="CATEGORY",
        origin="https://archive.ics.uci.edu/dataset/359/news+aggregator",
        layout="from memory of the data set's description",
        header=(
            "ID",
            "TITLE",
            "URL",
            "PUBLISHER",
            "CATEGORY",
            "STORY",
            "HOSTNAME",
            "TIMESTAMP",
        ),
    ),
    "sms_spam_collection": Published(
        files=("SMSSpamCollection",),
        text="text",
        label="label",
        origin="https://archive.ics.uci.edu/dataset/228/sms+spam+collection",
        layout="from memory of the data set's description",
        header=("label", "text"),
    ),
}
