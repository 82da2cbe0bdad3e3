"""Classification of, or regression on, one text or a pair of texts."""
