"""HTTP: serving, problems, who calls, and calls between services."""
