"""What a one-shot job of a deployment says where it cannot do its work: one line, not where in the code it ended."""

from pathlib import Path

import pytest

from cv_contracts.topics import SERVICES
from cvhub import prepare
from cvhub.keys import TRUSTED, key_file


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


def keys(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr("sys.argv", ["prepare", "keys", str(folder)])
    prepare.main()


def test_keys_are_made_in_a_new_folder_and_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "keys"
    keys(monkeypatch, folder)
    trusted = (folder / TRUSTED).read_text()
    assert all(key_file(folder, service).is_file() for service in SERVICES)
    keys(monkeypatch, folder)
    assert (folder / TRUSTED).read_text() == trusted


def test_a_damaged_key_and_a_folder_that_cannot_be_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key_file(tmp_path, "gateway").write_text("-----BEGIN")
    with pytest.raises(SystemExit) as ended:
        keys(monkeypatch, tmp_path)
    assert "gateway.pem is damaged: put the right one back" in str(ended.value.code)
    with pytest.raises(SystemExit) as ended:
        keys(monkeypatch, key_file(tmp_path, "gateway"))
    assert "gateway.pem cannot be used" in str(ended.value.code)
