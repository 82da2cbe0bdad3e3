"""Trains AdapterHub's Houlsby adapters on some texts and prints how fast that was, as JSON.

`benchmarks.train_speed` runs it, with the Python that `benchmarks.peer.interpreter` finds. Its
batches hold texts of like length, and are padded to their longest.
"""

import argparse
import json
import math
import os
import pathlib
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "true"

import numpy as np
import torch
from adapter_hub_transfer import (
    Settings,
    autocasting,
    build,
    make_optimizer,
    read_task,
    train_step,
)

WARM_UP_STEPS = 3  # As `train.run` leaves out.
SORTED_BATCHES = 50  # As transformers' sampler by length: neither order nor lengths are random.


def grouped_order(lengths, batch_size, seed):
    """Returns batches of texts of like length in random order, `<int>[steps, batch]`."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(lengths))
    parts = np.split(
        order, range(SORTED_BATCHES * batch_size, len(order), SORTED_BATCHES * batch_size)
    )
    order = np.concatenate([part[np.argsort(lengths[part], kind="stable")] for part in parts])
    steps = len(order) // batch_size
    return random.permutation(order[: steps * batch_size].reshape(steps, batch_size))


def train(model, split, order, optimizer, schedule, autocast):
    """Trains on batches; returns the seconds of each step."""
    model.train()
    seconds = []
    for rows in order:
        start = time.perf_counter()
        loss = train_step(model, *split.rows(rows, 1), optimizer, schedule, autocast).item()
        seconds.append(time.perf_counter() - start)
        if len(seconds) == 1:
            print(f"loss={loss:.4f}", file=sys.stderr, flush=True)
    if not math.isfinite(loss):
        sys.exit(f"error: the last loss is {loss}")
    return seconds


def accuracy(model, split, batch_size, autocast):
    """Returns the share of a split's texts that get their label."""
    model.eval()
    right = 0
    for start in range(0, len(split), batch_size):
        inputs, labels = split.rows(np.arange(start, min(start + batch_size, len(split))), 1)
        with torch.inference_mode(), autocast():
            right += (model(**inputs).logits.argmax(-1) == labels).sum().item()
    return right / len(split)


def read_flags():
    """Returns the command line's flags."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", required=True, help="BERT in Hugging Face's format")
    parser.add_argument("--texts", required=True, help="folder with train.jsonl and dev.jsonl")
    parser.add_argument("--output_dir", required=True, help="folder for the adapter")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--max_seq_length", type=int, default=128)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="float32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main():
    """Trains for an epoch, evaluates, saves the adapter, and prints what was measured."""
    flags = read_flags()
    torch.manual_seed(flags.seed)
    names, data = read_task(
        pathlib.Path(flags.texts), flags.encoder, flags.max_seq_length, flags.device,
        ("train", "dev"),
    )  # fmt: skip
    split = data["train"]
    settings = Settings(
        task="texts", method="double_seq_bn", learning_rate=flags.learning_rate, seed=flags.seed,
        size=flags.size, epochs=1, batch_size=flags.batch_size,
        max_seq_length=flags.max_seq_length, max_train_examples=None, head_layers=1,
        use_pooler=False, train_on_dev=False, precision=flags.precision,
    )  # fmt: skip
    model = build(flags.encoder, settings, names).to(flags.device)
    order = grouped_order(split.lengths, flags.batch_size, flags.seed)
    optimizer, schedule = make_optimizer(model, flags.learning_rate, len(order))
    autocast = autocasting(flags.precision, flags.device)
    seconds = train(model, split, order, optimizer, schedule, autocast)
    dev = accuracy(model, data["dev"], flags.batch_size, autocast)
    model.save_adapter(flags.output_dir, "task")
    lengths = split.lengths[order]
    timed = seconds[WARM_UP_STEPS:]
    result = {
        "examples_per_second": len(timed) * flags.batch_size / sum(timed),
        "step_seconds": seconds,
        "useful_token_share": float(lengths.sum() / (lengths.max(axis=1) * lengths.shape[1]).sum()),
        "lengths": split.lengths.tolist(),
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "dev_accuracy": dev,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
