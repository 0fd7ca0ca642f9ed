"""Running for days: events, metrics, snapshots, commands, rate control."""
