"""Tables of the feed, beside the replica of citizens."""

REQUIRES = ("cv_citizens.migrations",)
