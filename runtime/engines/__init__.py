"""Back ends that run the encoder; chosen in crwedge.runtime.engine and nowhere else."""
