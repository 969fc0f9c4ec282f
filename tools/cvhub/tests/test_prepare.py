"""What a one-shot job of a deployment says where it cannot do its work: one line, not where in the code it ended."""

import pytest

from cvhub import prepare


@pytest.mark.parametrize("what", ["topics", "acls"])
@pytest.mark.parametrize(
    ("servers", "said"), [(None, "missing or invalid: KAFKA."), ("127.0.0.1:9", "Kafka did not do it: ")]
)
def test_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, what: str, servers: str | None, said: str
) -> None:
    monkeypatch.setattr("sys.argv", ["prepare", what])
    if servers is None:
        monkeypatch.delenv("KAFKA__BOOTSTRAP_SERVERS", raising=False)
    else:
        monkeypatch.setenv("KAFKA__BOOTSTRAP_SERVERS", servers)
    with pytest.raises(SystemExit) as ended:
        prepare.main()
    assert said in str(ended.value.code)


def test_it_tells_how_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["prepare", "everything"])
    with pytest.raises(SystemExit) as ended:
        prepare.main()
    assert str(ended.value.code).startswith("usage: ")
