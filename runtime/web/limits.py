"""Limits of one request."""

MOST_JSON = 1 << 20
"""Bytes of a body that is no picture."""
MOST_PICTURE = 32 << 20
"""Bytes of a picture."""
MOST_POINTS = 200
"""Clicks of one selection."""
MOST_OBJECTS = 254
"""Objects, by their ids."""
