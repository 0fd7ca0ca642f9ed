"""From a checkpoint to a bundle that a device can run."""

if __name__ != "crwedge.export":
    raise ImportError("import this package as crwedge.export; 'export' would make a second copy of every class")
