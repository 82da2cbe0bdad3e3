"""One object for each family of encoders: all that is special about it."""
