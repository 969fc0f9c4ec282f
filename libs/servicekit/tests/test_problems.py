"""Which problem an error becomes."""

import asyncpg

from servicekit.web.problems import problem_of


def test_a_connection_lost_in_the_middle_is_trouble_that_passes_and_a_missing_file_is_not() -> None:
    assert problem_of(asyncpg.InternalClientError("got result for unknown protocol state 3")).status == 503
    assert problem_of(FileNotFoundError()).status == 500
