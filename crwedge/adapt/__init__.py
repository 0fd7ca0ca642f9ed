"""Test-time training (PyTorch)."""
