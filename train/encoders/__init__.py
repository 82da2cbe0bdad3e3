"""Which pretrained encoder a preset's name, a path or a repository's id means."""
