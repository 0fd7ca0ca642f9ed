"""The encoder, the contrastive random walk and checkpoints (PyTorch)."""
