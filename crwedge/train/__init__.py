"""Learning an encoder from unlabelled video (PyTorch)."""
