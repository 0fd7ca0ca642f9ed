"""Propagation that stays on an NVIDIA device: kernels, the driver that launches them, the context in device memory."""
