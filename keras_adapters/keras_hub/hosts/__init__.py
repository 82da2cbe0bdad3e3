"""One object for each family of backbones: all that is special about it."""
