"""The optimiser of BERT fine-tuning and of the paper."""

from __future__ import annotations

import tf_keras
from official.nlp import optimization

_WARM_UP_SHARE = 0.1


def make_optimizer(learning_rate: float, steps: int) -> tf_keras.optimizers.Optimizer:
    """AdamW with linear warm-up and linear decay.

    Weight decay is 0.01, decoupled, and not on biases and LayerNorms. Gradients are
    clipped to a global norm of 1.0 and epsilon is 1e-6, as in BERT's released code.

    Args:
      learning_rate: the peak, of the decay line at step 0.
      steps: number of training steps. The rate rises over the first 10% of them and
        reaches 0 at the last.

    Returns:
      An optimiser for `compile`.

    Reference:
      Houlsby et al. 2019, section 3.1; Devlin et al. 2019, appendix A.2.
    """
    schedule = tf_keras.optimizers.schedules.PolynomialDecay(
        learning_rate, decay_steps=steps, end_learning_rate=0.0
    )
    warm_up_steps = int(_WARM_UP_SHARE * steps)
    if warm_up_steps:
        schedule = optimization.WarmUp(learning_rate, schedule, warm_up_steps)
    optimizer = tf_keras.optimizers.AdamW(
        schedule, weight_decay=0.01, epsilon=1e-6, global_clipnorm=1.0
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
