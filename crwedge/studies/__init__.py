"""The studies of the paper's appendix: one setting is varied, all others are fixed."""
