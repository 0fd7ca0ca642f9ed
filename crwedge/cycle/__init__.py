"""The score without labels: cycle consistency of an encoder on unlabelled footage."""
