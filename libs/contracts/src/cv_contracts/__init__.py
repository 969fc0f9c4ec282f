"""What the services say to each other and to callers: events, topics, wire types, faults, code lists."""
