"""Metrics, protocols and studies (NumPy)."""
