"""Where the encoder and propagation run: the CPU or an NVIDIA GPU."""
