"""The model card of an exported folder, for people and for the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from keras_adapters.adapter_card import sealed
from keras_adapters.adapter_file import AdapterFile

_TAGS = {"spans": "question-answering"}
_TEXT = """\
# Adapter `{name}` for {base}

Bottleneck adapters, as in Houlsby et al. 2019, trained with keras-adapters and converted to the
format of the [`adapters`](https://github.com/Adapter-Hub/adapters) package:

```python
from adapters import BertAdapterModel

model = BertAdapterModel.from_pretrained({quoted})
model.load_adapter({folder}, set_active=True)
```

`python -m keras_adapters.convert` turns the folder back.{dropped}
"""


def card(
    name: str,
    base_model: str | None,
    adapter: AdapterFile,
    kind: str | None,
    dropped: Sequence[str],
) -> str:
    """Returns the card's text.

    Args:
      name: the adapter's.
      base_model: the base's name on the Hub, if it is known.
      adapter: what was converted.
      kind: the head's, or None without a head.
      dropped: what was left behind.
    """
    front = {
        # The Hub's key for the `adapters` package is that of its forerunner.
        "library_name": "adapter-transformers",
        "tags": ["adapter-transformers", "bert"],
    }
    if base_model:
        front |= {"base_model": base_model, "base_model_relation": "adapter"}
    if kind:
        front["pipeline_tag"] = _TAGS.get(kind, "text-classification")
    lost = f"\n\nIt was exported without {' and '.join(dropped)}." if dropped else ""
    text = _TEXT.format(
        name=name,
        base=f"`{base_model}`" if base_model else "the encoder that it was trained in",
        quoted=repr(base_model or "..."),
        folder=repr("..."),
        dropped=lost,
    )
    return sealed(f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n{text}\n")
