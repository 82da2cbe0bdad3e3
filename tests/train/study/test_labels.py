import pytest

from train.study.labels import method_label, variant

PLAIN = {"type": "bottleneck", "size": 64}


@pytest.mark.parametrize(
    ("arguments", "label"),
    [
        (("adapters", PLAIN), "adapters 64"),
        (
            ("adapters", PLAIN | {"form": "parallel", "scale": 4.0}),
            "adapters 64, parallel, scale 4",
        ),
        (("adapters", PLAIN | {"scale": "per_channel"}), "adapters 64, scale per channel"),
        (("adapters", PLAIN | {"form": "after_norm"}), "adapters 64, after norm"),
        (("adapters", PLAIN | {"norm": "batch"}), "adapters 64, batch norm"),
        (("adapters", PLAIN | {"hidden_layers": 2}), "adapters 64, hidden layers 2"),
        (("adapters", PLAIN | {"places": ["attention"]}), "adapters 64, attention only"),
        (("adapters", PLAIN | {"layers": [0, 1, 2, 5]}), "adapters 64, layers 0-2 5"),
        (("adapters", PLAIN | {"activation": "gelu_tanh"}), "adapters 64, gelu tanh"),
        (("adapters", PLAIN | {"init_stddev": 1e-3}), "adapters 64, init 0.001"),
        (("adapters", PLAIN | {"init_stddev": 1e-2, "dropout": 0.0}), "adapters 64"),
        (("adapters", PLAIN | {"size": [8, 64]}), "adapters 8-64"),
        (("adapters", PLAIN | {"size": None, "reduction_factor": 16}), "adapters 1/16"),
        (("adapters", PLAIN, None, "nothing"), "adapters 64, LayerNorms frozen"),
        (("lora", {"type": "lora", "size": 4, "alpha": 2.0}), "lora 4, alpha 2"),
        (("top_layers", None, 1), "top 1 layer"),
        (("top_layers", None, 2), "top 2 layers"),
        (("full",), "full fine-tuning"),
        (("layer_norm",), "LayerNorm only"),
        (("feature_based",), "feature-based"),
        (("no_bert",), "no BERT"),
        (("bit_fit",), "bit fit"),
    ],
)
def test_labels(arguments, label):
    assert method_label(*arguments) == label


def test_a_variant_is_what_differs_whatever_the_width():
    assert variant(PLAIN | {"size": 8}) == {}
    assert variant({"size": 8, "layers": None, "dropout": 0.5}) == {"dropout": 0.5}
