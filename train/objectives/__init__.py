"""What trains and is scored: the protocol of an objective, and its two implementations."""
