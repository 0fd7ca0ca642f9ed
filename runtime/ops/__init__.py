"""Long runs: events, metrics, snapshots, commands, rate control."""
