"""The public feed of changes: derived from the event log alone, complete, in order, scoped by the relation at arrival."""
