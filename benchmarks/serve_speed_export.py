"""Exports a classifier of random adapters as `train.run` would, for `benchmarks.serve_speed`."""

from __future__ import annotations

import argparse

import tf_keras

from keras_adapters.converters.load import load_encoder
from keras_adapters.methods.bottleneck import AdapterConfig
from keras_adapters.methods.method import Method
from keras_adapters.preprocessor import BertPreprocessor
from train.encoders.find import find_encoder
from train.objectives.model import build_classifier
from train.objectives.text.export import export_text_model


def main() -> None:
    """Builds the classifier and writes its SavedModel."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--labels", type=int, default=8)
    parser.add_argument("--max_seq_length", type=int, default=128)
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="float32")
    flags = parser.parse_args()
    tf_keras.utils.set_random_seed(0)
    if flags.precision == "bfloat16":
        tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    files = find_encoder(flags.encoder)
    pooler = files.pooling == "pooler"
    encoder = load_encoder(files.checkpoint, output_range=1 if pooler else None)
    model = build_classifier(
        encoder, flags.labels, Method(AdapterConfig(flags.size)), pooling=files.pooling
    )
    preprocess = BertPreprocessor(files.vocab_file, files.lower_case, flags.max_seq_length)
    names = [f"label_{index}" for index in range(flags.labels)]
    export_text_model(flags.output, model, preprocess, names)


if __name__ == "__main__":
    main()
