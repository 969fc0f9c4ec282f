"""The local stack and the command line of those who run cvhub."""
