import pytest

from servicekit.web.etags import holds_if_match


@pytest.mark.parametrize(
    ("header", "version", "holds"),
    [
        (None, None, True),
        (None, 7, True),
        ("*", None, False),
        ("*", 7, True),
        ('"7"', 7, True),
        ('"6", "7"', 7, True),
        ('"6"', 7, False),
        ('W/"7"', 7, False),
        ("7", 7, False),
        ('"7"', None, False),
        ("", 7, False),
    ],
)
def test_if_match_is_compared_strongly(header: str | None, version: int | None, holds: bool) -> None:
    assert holds_if_match(header, version) is holds
