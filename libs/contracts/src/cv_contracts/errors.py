"""Errors that whoever runs the system has to read."""

__all__ = ["Misconfigured"]


class Misconfigured(Exception):  # noqa: N818 - says what is the matter
    """Something that was put beside the program is not as it must be. The text is written to the log: nothing about a person in it."""
