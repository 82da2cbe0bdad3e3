"""Fetches an encoder from the Hugging Face Hub; needs no TensorFlow."""

from __future__ import annotations

import pathlib

from keras_adapters.converters import formats

# What is read of a repository, and no more.
_FILES = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
    "vocab.txt",
    "tokenizer_config.json",
    "1_Pooling/config.json",
)
_SECONDS = 10


def fetch(repository: str) -> pathlib.Path:
    """Returns the folder of a repository's files, from the hub's cache or its server.

    What the cache holds whole is used as it is: it needs no network, and a run stays the
    same when the repository changes. An interrupted download goes on where it stopped.

    Args:
      repository: such as `google-bert/bert-base-uncased`.

    Raises:
      FileNotFoundError: there is no such repository, it has no weights as safetensors, or
        the hub cannot be reached.
    """
    import huggingface_hub
    from huggingface_hub import errors

    cached = _cached(repository)
    if cached:
        return cached
    try:
        # The download's own first request has no time limit.
        info = huggingface_hub.HfApi().model_info(repository, timeout=_SECONDS)
        names = {file.rfilename for file in info.siblings}
        if names.isdisjoint(("model.safetensors", "model.safetensors.index.json")):
            raise FileNotFoundError(_without_safetensors(repository))
        return pathlib.Path(huggingface_hub.snapshot_download(repository, allow_patterns=_FILES))
    except errors.RepositoryNotFoundError as error:
        raise FileNotFoundError(f"the Hugging Face Hub has no public {repository}") from error
    except FileNotFoundError:
        raise
    except Exception as error:  # The hub's HTTP library differs between its versions.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FileNotFoundError(
            f"{repository} cannot be fetched from the Hugging Face Hub ({reason}). Without a "
            "network, name a folder that holds the encoder"
        ) from error


def _cached(repository: str) -> pathlib.Path | None:
    """Returns the folder in the hub's cache if all that was fetched is there."""
    import huggingface_hub
    from huggingface_hub import errors

    try:
        folder = huggingface_hub.snapshot_download(
            repository, allow_patterns=_FILES, local_files_only=True
        )
        checkpoint = formats.recognise(folder)
    except (errors.LocalEntryNotFoundError, FileNotFoundError):
        return None
    files = (checkpoint.vocab_file, checkpoint.folder / "config.json")
    return checkpoint.folder if all(file.is_file() for file in files) else None


def _without_safetensors(repository: str) -> str:
    return (
        f"{repository} has no model.safetensors, the one form of weights that is read of a "
        "repository. Convert it once with transformers, where PyTorch is installed, and name the "
        f'folder: BertModel.from_pretrained("{repository}").save_pretrained("folder"), and the '
        "same with BertTokenizer"
    )
