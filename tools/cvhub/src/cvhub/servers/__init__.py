"""A real Kafka and a real PostgreSQL from Python wheels and hash-checked jars, without system packages."""
