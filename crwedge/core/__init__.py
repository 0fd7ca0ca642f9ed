"""Types and functions that all other packages share: labels, settings, bundles, masks, errors. NumPy only."""
