"""What every service needs and no service is about: database, outbox, relay, projection, identity, telemetry, health."""
