"""What a service tells about its own work: logs, traces, metrics, none of it personal."""
