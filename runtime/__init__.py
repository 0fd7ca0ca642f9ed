"""From a bundle and frames to label maps. No PyTorch, and nothing here imports it."""

if __name__ != "crwedge.runtime":
    raise ImportError("import this package as crwedge.runtime; 'runtime' would make a second copy of every class")
