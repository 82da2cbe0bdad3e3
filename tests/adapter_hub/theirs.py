"""What the real package does, in an environment of its own: `proof.py` runs it.

    python theirs.py train ENCODER DATA OUTPUT   trains two adapters on DATA, saves each in
                                                 both forms, and writes what they answer
    python theirs.py answer ENCODER DATA ADAPTER OUTPUT   loads ADAPTER both ways, and answers

DATA is an `.npz`: `train_*` and `test_*` ids, masks and types, and `train_labels`.
"""

import pathlib
import sys

import numpy as np
import torch
from adapters import BertAdapterModel

STEPS, BATCH = 40, 16
# Their default, a head of two layers on the first token, and one layer on the pooler's output.
HEADS = {"two_layers": {}, "pooler": {"layers": 1, "use_pooler": True}}


def train(encoder, data, output):
    for name, settings in HEADS.items():
        torch.manual_seed(0)
        model = BertAdapterModel.from_pretrained(encoder)
        model.add_adapter(name, config="double_seq_bn")
        labels = {index: str(label) for index, label in enumerate(data["labels"])}
        model.add_classification_head(name, num_labels=len(labels), id2label=labels, **settings)
        model.train_adapter(name)
        model.train()
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 3e-3)
        losses = []
        for step in range(STEPS):
            rows = slice(step * BATCH, (step + 1) * BATCH)
            loss = model(**inputs(data, "train", rows), labels=target(data, rows)).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        print(f"{name}: loss {np.mean(losses[:5]):.3f} to {np.mean(losses[-5:]):.3f}")
        model.save_adapter(f"{output}/{name}", name)
        model.save_adapter(f"{output}/{name}_safe", name, use_safetensors=True)
        np.save(f"{output}/{name}.npy", logits(model, data))


def answer(encoder, data, adapter, output):
    for safe in (False, True):
        model = BertAdapterModel.from_pretrained(encoder)
        arguments = {"use_safetensors": True} if safe else {}
        found = {}
        name = model.load_adapter(adapter, loading_info=found, **arguments)
        assert not any(found.values()), found
        assert model.heads[name].config["label2id"] == {
            str(label): index for index, label in enumerate(data["labels"])
        }
        model.set_active_adapters(name)
        np.save(f"{output}/{'safe' if safe else 'default'}.npy", logits(model, data))


def inputs(data, split, rows=slice(None)):
    names = ("input_ids", "attention_mask", "token_type_ids")
    return {name: torch.tensor(data[f"{split}_{name}"][rows]).long() for name in names}


def target(data, rows):
    return torch.tensor(data["train_labels"][rows]).long()


def logits(model, data):
    model.eval()
    with torch.no_grad():
        return model(**inputs(data, "test")).logits.numpy()


if __name__ == "__main__":
    command, encoder, data, *rest = sys.argv[1:]
    pathlib.Path(rest[-1]).mkdir(exist_ok=True)
    {"train": train, "answer": answer}[command](encoder, np.load(data), *rest)
