import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from train.fit.dropout import DropoutSeeds, dropout, keep_mask, keep_scale, key_of

ONES = tf.ones([64, 32])


def key(number):
    return tf.constant(number, tf.uint64)


@pytest.fixture
def make():
    def make(seed=0):
        inputs = tf_keras.Input([32])
        first = tf_keras.layers.Dropout(0.25)(inputs)
        outputs = [first, tf_keras.layers.Dropout(0.25)(inputs)]
        model = tf_keras.Model(inputs, outputs)
        step = tf.Variable(0, dtype=tf.int64)
        return model, DropoutSeeds(model, seed, step), step

    return make


def masks(model):
    return [output.numpy() for output in model(ONES, training=True)]


def test_masks_follow_from_seed_layer_and_step_alone(make):
    model, _, step = make()
    first = masks(model)
    assert not np.array_equal(*first)  # Each layer has its own.
    assert all(map(np.array_equal, first, masks(model)))
    step.assign(1)
    assert not any(map(np.array_equal, first, masks(model)))
    other, _, _ = make()
    assert all(map(np.array_equal, first, masks(other)))
    other, _, _ = make(seed=1)
    assert not any(map(np.array_equal, first, masks(other)))


def test_each_part_of_a_batch_has_its_own(make):
    model, seeds, _ = make()
    first = masks(model)
    seeds.part = 1
    assert not any(map(np.array_equal, first, masks(model)))


def test_each_replica_has_its_own(make):
    _, seeds, _ = make()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    places = tf.function(lambda: strategy.run(seeds.place))()
    assert sorted(map(int, strategy.experimental_local_results(places))) == [0, 1]


def test_a_key_is_found_from_the_layer_alone(make):
    model, seeds, step = make()
    layer = model.layers[1]
    step.assign(7)
    seeds.part = 2
    kept = keep_mask(key_of(layer), ONES.shape, layer.rate)
    np.testing.assert_array_equal(kept, masks(model)[0] != 0)
    assert key_of(tf_keras.layers.Dropout(0.1)) is None


def test_drops_at_the_rate_and_scales_the_rest(make):
    for mask in masks(make()[0]):
        assert set(np.unique(mask)) == {0.0, np.float32(1 / 0.75)}
        assert np.mean(mask == 0) == pytest.approx(0.25, abs=0.04)


def test_is_off_without_training(make):
    for output in make()[0](ONES, training=False):
        np.testing.assert_array_equal(output, ONES)


def test_a_noise_shape_is_held_to():
    inputs = tf_keras.Input([8, 32])
    model = tf_keras.Model(inputs, tf_keras.layers.Dropout(0.5, noise_shape=(None, 1, 32))(inputs))
    DropoutSeeds(model, 0, tf.Variable(0, dtype=tf.int64))
    dropped = model(tf.ones([4, 8, 32]), training=True).numpy()
    np.testing.assert_array_equal(dropped, np.repeat(dropped[:, :1], 8, axis=1))
    assert set(np.unique(dropped)) == {0.0, 2.0}


def test_the_formula_in_plain_integers():
    def mix(bits):
        bits = (bits ^ bits >> 16) * 0x7FEB352D % 2**32
        bits = (bits ^ bits >> 15) * 0x846CA68B % 2**32
        return bits ^ bits >> 16

    spread = 123456789123456789
    spread = (spread ^ spread >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    spread = (spread ^ spread >> 27) * 0x94D049BB133111EB % 2**64
    spread ^= spread >> 31
    low, high = spread % 2**32, spread >> 32
    bits = np.array([mix(mix((low + index) % 2**32) ^ high) for index in range(2 * 3 * 20)])
    kept = keep_mask(key(123456789123456789), [2, 3, 20], 0.3)
    np.testing.assert_array_equal(kept, bits.reshape(2, 3, 20) >= 0.3 * 2**32)


def test_the_mask_is_the_same_jitted_or_not_and_backwards():
    inputs = tf.random.stateless_normal([6, 5, 16], [0, 0])
    kept = keep_mask(key(5), inputs.shape, 0.4).numpy()
    for jit in (None, True):

        @tf.function(jit_compile=jit)
        def step(inputs):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = dropout(inputs, key(5), 0.4)
            return outputs, tape.gradient(outputs, inputs)

        outputs, gradient = step(inputs)
        np.testing.assert_allclose(outputs, np.where(kept, inputs / 0.6, 0), rtol=1e-6)
        np.testing.assert_allclose(gradient, np.where(kept, 1 / 0.6, 0), rtol=1e-6)


def test_the_shape_may_be_known_when_it_runs_alone():
    compute = tf.function(
        lambda inputs: dropout(inputs, key(5), 0.4),
        input_signature=[tf.TensorSpec([None, None, 16])],
    )
    inputs = tf.ones([3, 4, 16])
    np.testing.assert_array_equal(compute(inputs) != 0, keep_mask(key(5), [3, 4, 16], 0.4))


def test_computes_in_the_type_of_its_inputs():
    assert dropout(tf.ones([2, 8], tf.bfloat16), key(0), 0.1).dtype == tf.bfloat16


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1 - 2**-34])
def test_a_rate_that_is_none(rate):
    with pytest.raises(ValueError, match=f"`rate` must be .* Received: rate={rate}"):
        keep_mask(key(0), [2, 3], rate)


def test_the_rate_is_rounded_to_32_bits():
    assert keep_scale(0.1) == pytest.approx(1 / 0.9, rel=1e-9)
    assert keep_scale(2**-34) == 1
    assert np.all(keep_mask(key(0), [64, 64], 2**-34))


@pytest.fixture(scope="module", params=[0.1, 0.5])
def sample(request):
    """Masks of neighbouring keys, centred and of unit variance if they are what they should be."""
    rate = request.param
    draw = tf.function(lambda key: keep_mask(key, [256, 512], rate), jit_compile=True)
    kept = np.stack([draw(key(number)) for number in range(32)])
    return rate, kept, (kept - (1 - rate)) / np.sqrt(rate * (1 - rate))


def test_masks_keep_the_rate_in_each_row_and_column(sample):
    _, _, scores = sample
    for axes in ((1, 2), (0, 1), (0, 2)):
        count = np.prod([scores.shape[axis] for axis in axes])
        sums = scores.sum(axes) / np.sqrt(count)
        assert np.abs(sums).max() < 4.5
        assert 0.5 < sums.var() < 2  # Not more even than chance either.


def test_masks_of_neighbouring_keys_are_independent(sample):
    """So those of steps, layers, parts and replicas are, whose keys differ by any number."""
    _, _, scores = sample
    scores = scores.reshape(len(scores), -1)
    products = scores @ scores.T / np.sqrt(scores.shape[1])
    pairs = products[np.triu_indices(len(scores), 1)]
    assert np.abs(pairs).max() < 4.5
    assert pairs.std() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("lag", [1, 2, 3, 16, 64, 128, 512, 1024, 65536])
def test_neighbours_are_independent(lag, sample):
    _, _, scores = sample
    scores = scores.reshape(len(scores), -1)
    products = np.mean(scores[:, lag:] * scores[:, :-lag], axis=1)
    products *= np.sqrt(scores.shape[1] - lag)
    assert np.abs(products).max() < 4.5
    assert abs(products.mean()) * np.sqrt(len(products)) < 4.5


def test_runs_of_eight_are_as_frequent_as_chance_has_them(sample):
    rate, kept, _ = sample
    runs = kept.reshape(-1, 8) @ (1 << np.arange(8))
    ones = np.array([run.bit_count() for run in range(256)])
    expected = len(runs) * (1 - rate) ** ones * rate ** (8 - ones)
    often = expected > 5
    excess = (np.bincount(runs, minlength=256) - expected)[often] ** 2 / expected[often]
    # The sum has a chi-square distribution of mean n and variance 2 n.
    assert abs(excess.sum() - often.sum()) < 4.5 * np.sqrt(2 * often.sum())
