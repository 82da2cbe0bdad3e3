"""Raw text to an adapter file with an encoder of tf-models-official, without the command.

    python examples/official_encoder.py --encoder=FOLDER --adapter=adapter

FOLDER is a pretrained BERT in any format that docs/encoders.md lists.
"""

import argparse

import numpy as np
import tensorflow as tf
import tf_keras

import keras_adapters as ka
from keras_adapters.converters.formats import recognise

TEXTS = ["net profit rose sharply", "opec cut crude output", "the bank reports higher earnings"]
TEXTS += ["oil prices fell again", "quarterly dividend raised", "barrels a day of crude exports"]
LABELS = np.array([0, 1, 0, 1, 0, 1])
NAMES = ["earnings", "crude"]


def build_model(encoder: tf_keras.layers.Layer) -> tf_keras.Model:
    """A classifier on the mean over the tokens."""
    outputs = encoder(encoder.inputs)["sequence_output"]
    pooled = tf_keras.layers.GlobalAveragePooling1D(name="mean")(
        outputs, mask=encoder.inputs["input_mask"]
    )
    return tf_keras.Model(encoder.inputs, tf_keras.layers.Dense(len(NAMES), name="logits")(pooled))


def main() -> None:
    """Trains an adapter, writes it, and reads it back onto the same base."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--adapter", default="adapter")
    arguments = parser.parse_args()

    checkpoint = recognise(arguments.encoder)
    preprocess = ka.BertPreprocessor(checkpoint.vocab_file, lower_case=True, seq_length=16)
    inputs = preprocess([tf.constant(TEXTS)])

    tf_keras.utils.set_random_seed(0)
    encoder = ka.load_encoder(checkpoint)
    ka.adapt(encoder, ka.AdapterConfig(size=16))
    model = build_model(encoder)
    model.compile(
        tf_keras.optimizers.Adam(3e-3),
        tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(inputs, LABELS, epochs=10, verbose=0)
    ka.save_adapter(arguments.adapter, model, encoder, metadata={"labels": NAMES})
    print(ka.adapter_summary(encoder))

    encoder = ka.load_encoder(checkpoint)
    model = build_model(encoder)
    names = ka.load_adapter(arguments.adapter, model, encoder)["labels"]
    for text, logits in zip(TEXTS, model.predict(inputs, verbose=0), strict=True):
        print(f"{names[np.argmax(logits)]:<10} {text}")


if __name__ == "__main__":
    main()
