"""Saying what happened: the outbox and the relay that empties it."""
