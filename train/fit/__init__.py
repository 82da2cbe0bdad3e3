"""From examples to trained weights: batches, the training step, the loop and what guards it."""
