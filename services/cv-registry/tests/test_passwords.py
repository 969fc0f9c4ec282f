"""Passwords of account letters."""

import re

from cv_registry.passwords import ALPHABET, random_password


def test_a_password_can_be_read_aloud_and_none_comes_twice() -> None:
    made = {random_password() for _ in range(1_000)}
    assert len(made) == 1_000
    form = re.compile(rf"[{ALPHABET}]{{4}}(-[{ALPHABET}]{{4}}){{3}}")
    assert all(form.fullmatch(password) for password in made)
    assert not set("0o1il5s2z6bq9gvwOIBS") & (set(ALPHABET) - set("bg"))
