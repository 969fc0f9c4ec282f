"""Search over all searchable CVs, with exact facets."""
