"""A bottleneck adapter in a Keras 3 model of your own, on any backend.

KERAS_BACKEND=jax python examples/keras3_layer.py
"""

import keras
import numpy as np

import keras_adapters as ka


def build_model(width: int = 32) -> keras.Model:
    """A small frozen Transformer block with an adapter after each half, and a head that trains."""
    inputs = keras.Input((20, width))
    attention = keras.layers.MultiHeadAttention(4, width // 4, trainable=False)
    x = inputs + ka.BottleneckAdapter(8, name="after_attention")(attention(inputs, inputs))
    hidden = keras.layers.Dense(4 * width, "gelu", trainable=False)(x)
    outputs = keras.layers.Dense(width, trainable=False)(hidden)
    x = x + ka.BottleneckAdapter(8, name="after_feed_forward")(outputs)
    pooled = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="logits")(pooled))


def main() -> None:
    """Trains it on two classes of noise that differ in their mean."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    labels = random.integers(2, size=256)
    features = random.normal(0.5 * labels[:, None, None], size=(256, 20, 32)).astype("float32")
    model = build_model()
    model.compile(
        keras.optimizers.Adam(1e-2),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(features, labels, epochs=3, verbose=0)
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    accuracy = model.evaluate(features, labels, verbose=0, return_dict=True)["accuracy"]
    print(f"{trained:,} of {model.count_params():,} parameters train; accuracy {accuracy:.2f}")


if __name__ == "__main__":
    main()
