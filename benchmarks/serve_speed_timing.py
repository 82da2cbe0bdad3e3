"""How `benchmarks.serve_speed` times either side: needs the standard library alone.

Both sides read the same file of cases: `name`, `texts`, `batch_size` and `repeats` of each.
"""

import json
import pathlib
import time


def read_cases(path):
    """Returns the cases of a file that `benchmarks.serve_speed` wrote."""
    return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))


def batches_of(case):
    """Returns a case's texts in batches, in their order."""
    texts, size = case["texts"], case["batch_size"]
    return [texts[start : start + size] for start in range(0, len(texts), size)]


def timed(call, batches, repeats):
    """Returns the seconds that each pass over all batches takes, after one that is not counted."""
    seconds = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        for batch in batches:
            call(batch)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def measure(cases, answer, encode, compute):
    """Returns seconds of each pass: `whole`, and of batches of one text, `model` alone.

    Args:
      cases: as `read_cases` returns them.
      answer: from texts to labels and probabilities.
      encode: from texts to what `compute` takes.
      compute: from an encoder's inputs to probabilities.
    """
    results = {}
    for case in cases:
        batches, repeats = batches_of(case), case["repeats"]
        results[case["name"]] = {"whole": timed(answer, batches, repeats)}
        if case["batch_size"] == 1:
            inputs = [encode(batch) for batch in batches]
            results[case["name"]]["model"] = timed(compute, inputs, repeats)
    return results
