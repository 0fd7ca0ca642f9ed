"""Annotation formats: what other tools read and write, one file a format."""
