"""What the system does per second, each time beside a plain peer in the same run: `python -m bench`."""
