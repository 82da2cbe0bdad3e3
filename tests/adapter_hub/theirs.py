"""What the real package does, in an environment of its own: `proof.py` runs it.

    python theirs.py train ENCODER DATA OUTPUT   trains two adapters on DATA, saves each in
                                                 both forms, and writes what they answer
    python theirs.py answer ENCODER DATA ADAPTER OUTPUT   loads ADAPTER both ways, and answers
    python theirs.py compute ENCODER INPUTS ADAPTER OUTPUT   what ADAPTER computes of a JSON of
                                                 inputs, as `tests/fixtures/adapter_hub` has it

DATA is an `.npz`: `train_*` and `test_*` ids, masks and types, and `train_labels`.
"""

import json
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


def compute(encoder, data, adapter, output):
    model = BertAdapterModel.from_pretrained(encoder)
    found = {}
    model.set_active_adapters(model.load_adapter(adapter, loading_info=found))
    assert not any(found.values()), found
    model.eval()
    given = json.loads(pathlib.Path(data).read_text())["inputs"]
    with torch.no_grad():
        outputs = model(**{name: torch.tensor(value) for name, value in given.items()})
    if "start_logits" in outputs:
        values = torch.stack([outputs.start_logits, outputs.end_logits], -1)
    else:
        values = outputs["logits" if "logits" in outputs else "last_hidden_state"]
    np.save(f"{output}/computed.npy", values.numpy())


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
    if command == "compute":
        compute(encoder, data, *rest)
    else:
        {"train": train, "answer": answer}[command](encoder, np.load(data), *rest)
