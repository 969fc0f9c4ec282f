"""Tables of cv-search."""
