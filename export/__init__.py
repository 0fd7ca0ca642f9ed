"""Export of an encoder: ONNX graph, TensorRT engine, bundle."""

if __name__ != "crwedge.export":
    raise ImportError("import this package as crwedge.export; 'export' would make a second copy of every class")
