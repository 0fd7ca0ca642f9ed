"""The score without labels: cycle consistency of an encoder on footage that nobody labelled."""
