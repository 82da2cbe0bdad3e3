import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
# What trains with the whole command, or many models: `make quick` leaves it out.
SLOW = (
    "benchmarks",
    "examples",
    "keras_adapters/keras_hub",
    "keras_adapters/model_garden/test_architecture.py",
    "keras_adapters/model_garden/test_conformance.py",
    "keras_adapters/model_garden/test_freezing.py",
    "keras_adapters/model_garden/test_saving",
    "keras_adapters/model_garden/test_task_layers.py",
    "keras_adapters/model_garden/test_variants.py",
    "keras_adapters/test_adapter_fuzz.py",
    "keras_adapters/test_multi_task.py",
    "test_official.py",
    "test_readme.py",
    "train/baselines/test_feature_cache.py",
    "train/baselines/test_no_bert.py",
    "train/fit/test_fused_block.py",
    "train/fit/test_inference_blocks.py",
    "train/fit/test_predictor.py",
    "train/fit/test_step.py",
    "train/objectives/spans/test_export.py",
    "train/objectives/spans/test_objective.py",
    "train/objectives/spans/test_replicas.py",
    "train/objectives/test_model.py",
    "train/objectives/test_packed.py",
    "train/objectives/text/test_export.py",
    "train/study/test_ablation.py",
    "train/study/test_execution.py",
    "train/test_adapters_of_runs.py",
    "train/scoring/test_cluster.py",
    "train/serving/test_tensorflow_serving.py",
    "train/test_assembly.py",
    "train/test_bundle.py",
    "train/test_classify.py",
    "train/test_every_task.py",
    "train/test_experiment.py",
    "train/test_interruptions.py",
    "train/test_predict.py",
    "train/test_resuming.py",
    "train/test_serve.py",
    "train/test_sweep.py",
    "train/test_workers.py",
)


def pytest_collection_modifyitems(items):
    for item in items:
        path = item.path.relative_to(ROOT / "tests").as_posix()
        if path.startswith(SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def minilm():
    """The pretrained encoder that a package carries."""
    from train.encoders.find import find_encoder

    return find_encoder("minilm_l6")


@pytest.fixture(scope="session")
def fixtures():
    return pathlib.Path(__file__).parent / "fixtures"


@pytest.fixture(autouse=True)
def default_precision():
    """No test leaves its precision policy to the next."""
    yield
    import sys

    if "tf_keras" in sys.modules:
        sys.modules["tf_keras"].mixed_precision.set_global_policy("float32")


@pytest.fixture
def small_encoder():
    """Makes small encoders of either class with seeded weights."""
    import tf_keras
    from official.nlp.modeling import networks

    def make(cls=networks.BertEncoderV2, **kwargs):
        tf_keras.utils.set_random_seed(1)
        if cls is networks.BertEncoder:
            kwargs.setdefault("dict_outputs", True)
        encoder = cls(
            vocab_size=50,
            hidden_size=16,
            num_layers=3,
            num_attention_heads=2,
            max_sequence_length=32,
            type_vocab_size=2,
            inner_dim=24,
            inner_activation="gelu",
            **kwargs,
        )
        encoder(encoder.inputs)
        return encoder

    return make


@pytest.fixture
def tokens():
    """Two short sequences for the small encoders, one of them padded."""
    import numpy as np

    word_ids = np.array([[1, 5, 9, 2, 0, 0], [1, 7, 8, 9, 30, 2]], np.int32)
    return {
        "input_word_ids": word_ids,
        "input_mask": (word_ids > 0).astype(np.int32),
        "input_type_ids": np.zeros_like(word_ids),
    }
