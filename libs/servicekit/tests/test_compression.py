"""Accept-Encoding as RFC 9110 12.5.3 has it."""

import pytest

from servicekit.web.compression import takes_gzip


@pytest.mark.parametrize(
    "accepted",
    ["gzip", "br, gzip", "GZIP;q=0.001", "identity;q=0,gzip ; q=1", "deflate;q=0, gzip;q=0.5, *;q=0"],
)
def test_gzip_is_taken_where_it_is_named(accepted: str) -> None:
    assert takes_gzip(accepted)


@pytest.mark.parametrize(
    "accepted", ["", "identity", "*", "gzip;q=0", "br, gzip; q=0.000", "GZIP ;Q=0.", "gzipped", "x=gzip"]
)
def test_gzip_is_not_taken_where_it_is_not_named_or_refused(accepted: str) -> None:
    assert not takes_gzip(accepted)
