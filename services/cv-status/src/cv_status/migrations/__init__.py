"""Tables of cv-status, beside the replica of citizens."""

REQUIRES = ("cv_citizens.migrations",)
