"""The mathematics of label propagation on the CPU: context, neighbourhood, attention."""
