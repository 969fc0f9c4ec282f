"""Tables of pdf-renderer."""
