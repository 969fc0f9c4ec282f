"""The citizens as every owner knows them, and the one access policy."""
