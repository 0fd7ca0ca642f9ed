"""Metrics, benchmark protocols and studies, without PyTorch."""
