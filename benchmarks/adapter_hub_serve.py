"""Times AdapterHub from raw texts to labels and probabilities, and prints it as JSON.

`benchmarks.serve_speed` runs it, with the Python that `benchmarks.peer.interpreter` finds. The
tokenizer is the fast one, batches are padded to their longest text, and nothing is kept for
gradients.
"""

import argparse
import contextlib
import json
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "true"
START = time.perf_counter()

import torch  # noqa: E402  Timed.
from adapters import BertAdapterModel, DoubleSeqBnConfig  # noqa: E402  Timed.
from serve_speed_timing import measure, read_cases  # noqa: E402  Timed.
from transformers import AutoTokenizer  # noqa: E402  Timed.


def build(encoder, size, labels):
    """Returns a model with Houlsby's adapters and a classification head, for inference."""
    model = BertAdapterModel.from_pretrained(encoder)
    factor = model.config.hidden_size / size
    model.add_adapter(
        "task", config=DoubleSeqBnConfig(reduction_factor=factor, non_linearity="gelu")
    )
    model.add_classification_head("task", num_labels=labels, layers=1)
    model.set_active_adapters("task")
    return model.eval()


def main():
    """Loads the model, answers a text, and times the cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", required=True, help="BERT in Hugging Face's format")
    parser.add_argument("--cases", required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--labels", type=int, default=8)
    parser.add_argument("--max_seq_length", type=int, default=128)
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="float32")
    flags = parser.parse_args()
    imported = time.perf_counter()
    names = [f"label_{index}" for index in range(flags.labels)]
    model = build(flags.encoder, flags.size, flags.labels)
    tokenizer = AutoTokenizer.from_pretrained(flags.encoder)
    loaded = time.perf_counter()
    if flags.precision == "bfloat16":
        model = model.to(torch.bfloat16)

    def encode(texts):
        return tokenizer(
            texts, padding=True, truncation=True, max_length=flags.max_seq_length,
            return_tensors="pt",
        )  # fmt: skip

    def compute(inputs):
        return model(**inputs).logits.float().softmax(-1)

    def answer(texts):
        probabilities = compute(encode(texts))
        return [names[index] for index in probabilities.argmax(-1).tolist()], probabilities.numpy()

    cases = read_cases(flags.cases)
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode())
        answer(cases[0]["texts"][:1])
        answered = time.perf_counter()
        print("answered", file=sys.stderr, flush=True)
        result = {
            "import_seconds": imported - START,
            "load_seconds": loaded - imported,
            "first_answer_seconds": answered - loaded,
            "cases": measure(cases, answer, encode, compute),
            "threads": torch.get_num_threads(),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
