"""The page: a server that shows a stream or a film, takes painted masks and steers the tracking."""
