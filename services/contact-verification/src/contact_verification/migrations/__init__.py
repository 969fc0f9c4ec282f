"""Tables of contact-verification, beside the replica of citizens."""

REQUIRES = ("cv_citizens.migrations",)
