"""Trains AdapterHub's models on a task of this project, to compare with `train.run`.

It needs PyTorch and the `adapters` package, which have an environment of their own, and neither
TensorFlow nor this project:

    python -m venv peer && peer/bin/pip install torch==2.13.0
    peer/bin/pip install adapters==1.3.0 scikit-learn
    python -m benchmarks.export_splits --task=reuters_r8 --output=splits/reuters_r8
    peer/bin/python benchmarks/adapter_hub_transfer.py --encoder=MODEL_FOLDER --splits=splits \
      --tasks=reuters_r8 --methods=full,double_seq_bn --seeds=3

Data and budget are those of `train.run`: the same splits, the same examples in the same batches
for a seed, AdamW with weight decay on matrices and embeddings, gradients clipped to a norm of 1,
and a rate that rises over the first tenth of the steps and falls to 0. The models, their
initial values and their heads are AdapterHub's own: all of BERT trains (`full`), or adapters
(`double_seq_bn` is Houlsby's) in a frozen BERT, whose LayerNorms stay frozen too.

Each run adds a line to `--output`, and what stands there is not run again. The table names, for
each task and method, the learning rate of the best mean dev accuracy, and reads test there.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import json
import math
import multiprocessing
import pathlib
import statistics
import sys
import time

import numpy as np
import torch
from adapters import BertAdapterModel, DoubleSeqBnConfig, ParBnConfig, SeqBnConfig
from transformers import AutoTokenizer, get_linear_schedule_with_warmup

ADAPTERS = {
    "double_seq_bn": DoubleSeqBnConfig,
    "seq_bn": SeqBnConfig,
    "par_bn": ParBnConfig,
}
LENGTH_STEP = 16
EVALUATION_BATCH = 256


@dataclasses.dataclass(frozen=True)
class Settings:
    """One run.

    Args:
      task: name of its folder of splits.
      method: `full` or a key of `ADAPTERS`.
      learning_rate: the peak.
      seed: of the sample, the order, the initial values and the dropout.
      size: the adapters' width; `full` has none.
      epochs: passes over the training split.
      batch_size: examples per step.
      max_seq_length: tokens per example.
      max_train_examples: size of the sample to train on; `None` is all.
      head_layers: dense layers of the head on the first token, with tanh between them.
      use_pooler: whether the head reads BERT's pooled output instead.
      train_on_dev: whether dev is trained on too; then its accuracy says nothing.
      precision: `bfloat16` (autocast) or `float32`.
    """

    task: str
    method: str
    learning_rate: float
    seed: int
    size: int | None
    epochs: int
    batch_size: int
    max_seq_length: int
    max_train_examples: int | None
    head_layers: int
    use_pooler: bool
    train_on_dev: bool
    precision: str


@dataclasses.dataclass(frozen=True)
class Split:
    """A split's examples: ids `<int64>[examples, seq]`, their lengths, and labels."""

    ids: torch.Tensor
    lengths: np.ndarray
    labels: torch.Tensor

    def __len__(self):
        return len(self.lengths)

    def rows(self, rows, multiple=LENGTH_STEP):
        """Returns inputs, cut to the longest of these rows or the next multiple, and labels."""
        longest = math.ceil(self.lengths[rows].max() / multiple) * multiple
        at = torch.from_numpy(rows).to(self.ids.device)
        ids = self.ids[at, :longest]
        lengths = torch.from_numpy(self.lengths[rows]).to(ids.device)
        mask = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        return {"input_ids": ids, "attention_mask": mask.long()}, self.labels[at]

    def sample(self, count, seed):
        """Returns the examples that `train.run --max_train_examples` draws by this seed."""
        if count is None or count >= len(self):
            return self
        chosen = np.random.default_rng(seed).choice(len(self), count, replace=False)
        return Split(self.ids[chosen], self.lengths[chosen], self.labels[chosen])

    def __add__(self, other):
        return Split(
            torch.cat([self.ids, other.ids]),
            np.concatenate([self.lengths, other.lengths]),
            torch.cat([self.labels, other.labels]),
        )


@functools.cache
def read_task(folder, encoder, max_seq_length, device, splits=("train", "dev", "test")):
    """Returns the label names and the splits by name, tokenised, on the device."""
    lines = {
        path.stem: [json.loads(line) for line in path.open(encoding="utf-8")]
        for path in (folder / f"{name}.jsonl" for name in splits)
    }
    names = sorted({line["label"] for line in lines["train"] + lines["dev"]})
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    return names, {
        split: _tokenize(lines[split], names, tokenizer, max_seq_length, device) for split in lines
    }


def _tokenize(lines, names, tokenizer, max_seq_length, device):
    encoded = tokenizer(
        [line["text"] for line in lines],
        truncation=True,
        max_length=max_seq_length,
        padding="max_length",
        return_tensors="np",
    )
    return Split(
        torch.tensor(encoded["input_ids"], device=device),
        encoded["attention_mask"].sum(axis=1),
        torch.tensor([names.index(line["label"]) for line in lines], device=device),
    )


def build(encoder, settings, names):
    """Returns AdapterHub's model for a run; what does not train needs no gradient."""
    model = BertAdapterModel.from_pretrained(encoder)
    if settings.method != "full":
        factor = model.config.hidden_size / settings.size
        model.add_adapter("task", config=ADAPTERS[settings.method](reduction_factor=factor))
    model.add_classification_head(
        "task", num_labels=len(names), layers=settings.head_layers, use_pooler=settings.use_pooler
    )
    if settings.method != "full":
        model.train_adapter("task")
    if not settings.use_pooler:
        model.base_model.pooler.requires_grad_(requires_grad=False)  # Nothing reads it.
    model.active_head = "task"
    return model


def make_optimizer(model, learning_rate, steps):
    """Returns AdamW and its schedule; biases and LayerNorms have no weight decay."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in trained if p.ndim == 1], "weight_decay": 0.0},
    ]
    fused = next(model.parameters()).is_cuda
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, fused=fused)
    return optimizer, get_linear_schedule_with_warmup(optimizer, int(0.1 * steps), steps)


def autocasting(precision, device):
    """Returns what makes a context that computes in `bfloat16`, where it takes that."""
    kind = torch.device(device).type
    return functools.partial(torch.autocast, kind, torch.bfloat16, precision == "bfloat16")


def epoch_order(examples, batch_size, seed, epoch):
    """Returns the order of `train.fit.input_pipeline`, `<int>[steps, batch]`."""
    order = np.random.default_rng([seed, epoch]).permutation(examples)
    return np.resize(order, (max(1, examples // batch_size), batch_size))


def evaluate(model, split, autocast):
    """Returns accuracy and macro-F1."""
    from sklearn.metrics import accuracy_score, f1_score  # A second, which others do not need.

    model.eval()
    order = np.argsort(split.lengths, kind="stable")
    labels, answers = [], []
    for start in range(0, len(order), EVALUATION_BATCH):
        inputs, expected = split.rows(order[start : start + EVALUATION_BATCH])
        with torch.inference_mode(), autocast():
            answers.append(model(**inputs).logits.argmax(-1))
        labels.append(expected)
    labels, answers = (torch.cat(parts).cpu().numpy() for parts in (labels, answers))
    return {
        "accuracy": float(accuracy_score(labels, answers)),
        "macro_f1": float(f1_score(labels, answers, average="macro", zero_division=0.0)),
    }


def run(settings, splits, encoder, device):
    """Trains and evaluates one model; returns the run's settings and what it reached."""
    names, data = read_task(
        pathlib.Path(splits, settings.task), encoder, settings.max_seq_length, device
    )
    train = data["train"] + data["dev"] if settings.train_on_dev else data["train"]
    train = train.sample(settings.max_train_examples, settings.seed)
    torch.manual_seed(settings.seed)
    model = build(encoder, settings, names).to(device)
    orders = [
        epoch_order(len(train), settings.batch_size, settings.seed, epoch)
        for epoch in range(settings.epochs)
    ]
    optimizer, schedule = make_optimizer(model, settings.learning_rate, sum(map(len, orders)))
    autocast = autocasting(settings.precision, device)
    dev, seconds = [], 0.0
    for order in orders:
        seconds += _train_epoch(model, train, order, optimizer, schedule, autocast)
        dev.append(evaluate(model, data["dev"], autocast))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {
        **dataclasses.asdict(settings),
        "dev": dev[-1],
        "dev_by_epoch": [metrics["accuracy"] for metrics in dev],
        "test": evaluate(model, data["test"], autocast),
        "examples": {name: len(split) for name, split in data.items()} | {"train": len(train)},
        "trained": trained,
        "examples_per_second": sum(order.size for order in orders) / seconds,
    }


def _train_epoch(model, train, order, optimizer, schedule, autocast):
    """Trains on batches of rows; returns the seconds that it took."""
    model.train()
    start = time.monotonic()
    for rows in order:
        loss = train_step(model, *train.rows(rows), optimizer, schedule, autocast)
    if not math.isfinite(loss.item()):
        print(f"warning: the last loss is {loss.item()}", file=sys.stderr)
    return time.monotonic() - start


def train_step(model, inputs, labels, optimizer, schedule, autocast):
    """Changes the model by one batch; returns the loss before."""
    with autocast():
        logits = model(**inputs).logits
    loss = torch.nn.functional.cross_entropy(logits.float(), labels)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
    return loss


def table(results):
    """Returns the lines of a table: the rate that dev chose, and test there."""
    runs = {}
    for result in results:
        kept = ("task", "method", "size", "max_train_examples", "epochs", "head_layers")
        key = (*(result[name] for name in kept), result["use_pooler"], result["train_on_dev"])
        runs.setdefault(key, {}).setdefault(result["learning_rate"], []).append(result)
    lines = [
        "| task | method | examples | epochs | rate | dev accuracy, % | test accuracy, % | runs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (task, method, size, count, epochs, *_), by_rate in runs.items():
        rate = max(by_rate, key=lambda rate: _mean(by_rate[rate], "dev"))
        found = by_rate[rate]
        test = [100 * result["test"]["accuracy"] for result in found]
        lines.append(
            f"| {task} | {method} {size or ''} | {count or 'all'} | {epochs} | {rate:g} "
            f"| {100 * _mean(found, 'dev'):.2f} "
            f"| {statistics.mean(test):.2f} ({min(test):.2f} to {max(test):.2f}) | {len(found)} |"
        )
    return lines


def _mean(results, split):
    return statistics.mean(result[split]["accuracy"] for result in results)


def read_flags():
    """Returns the command line's flags."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    listed = {
        "type": lambda text: text.split(","),
        "metavar": "A,B,...",
    }
    rates = {**listed, "type": lambda text: [float(rate) for rate in text.split(",")]}
    parser.add_argument("--encoder", required=True, help="BERT in Hugging Face's format")
    parser.add_argument("--splits", required=True, help="holds a folder for each task")
    parser.add_argument("--tasks", required=True, **listed)
    parser.add_argument("--methods", default=["full", "double_seq_bn"], **listed)
    parser.add_argument("--full_rates", default=[2e-5, 5e-5, 1e-4, 2e-4], **rates)
    parser.add_argument("--adapter_rates", default=[3e-4, 1e-3, 3e-3], **rates)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each: seeds 0, 1, ...")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--max_seq_length", type=int, default=128)
    parser.add_argument("--max_train_examples", type=int)
    parser.add_argument("--head_layers", type=int, default=2)
    parser.add_argument("--use_pooler", action="store_true")
    parser.add_argument("--train_on_dev", action="store_true")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="runs at a time")
    parser.add_argument("--output", type=pathlib.Path, default="runs/adapter_hub.jsonl")
    flags = parser.parse_args()
    unknown = set(flags.methods) - {"full", *ADAPTERS}
    if unknown:
        parser.error(f"--methods must be of full, {', '.join(ADAPTERS)}. Received: {unknown}")
    return flags


def grid(flags):
    """Returns the settings of all runs that the flags ask for."""
    fields = {field.name for field in dataclasses.fields(Settings)}
    common = {name: value for name, value in vars(flags).items() if name in fields - {"size"}}
    return [
        Settings(
            task=task,
            method=method,
            learning_rate=rate,
            seed=seed,
            size=None if method == "full" else flags.size,
            **common,
        )
        for seed in range(flags.seeds)
        for task in flags.tasks
        for method in flags.methods
        for rate in (flags.full_rates if method == "full" else flags.adapter_rates)
    ]


def read_results(path):
    """Returns the results in a file, each by its settings."""
    if not path.exists():
        return {}
    results = [json.loads(line) for line in path.open(encoding="utf-8")]
    names = [field.name for field in dataclasses.fields(Settings)]
    return {Settings(**{name: result[name] for name in names}): result for result in results}


def main():
    """Runs what has not been run, then prints the table."""
    flags = read_flags()
    wanted = grid(flags)
    done = read_results(flags.output)
    flags.output.parent.mkdir(parents=True, exist_ok=True)
    # CUDA does not survive a fork.
    context = multiprocessing.get_context("spawn")
    with (
        concurrent.futures.ProcessPoolExecutor(flags.workers, context) as pool,
        flags.output.open("a", encoding="utf-8") as file,
    ):
        runs = [
            pool.submit(run, settings, flags.splits, flags.encoder, flags.device)
            for settings in wanted
            if settings not in done
        ]
        for finished in concurrent.futures.as_completed(runs):
            result = finished.result()
            file.write(json.dumps(result) + "\n")
            file.flush()
            name = " ".join(str(result[key]) for key in ("task", "method", "learning_rate", "seed"))
            print(f"{name}: {result['dev']['accuracy']:.4f} {result['test']['accuracy']:.4f}")
    results = read_results(flags.output)
    print("\n".join(table([results[settings] for settings in wanted])))


if __name__ == "__main__":
    main()
