"""Which files a run without some kinds of tests does not even import."""

from pathlib import Path

import pytest

WHOLE = "import pytest\n\npytestmark = pytest.mark.infra\n"
SEVERAL = "import pytest\n\npytestmark = [\n    pytest.mark.timeout(10),\n    pytest.mark.infra,\n]\n"
ONE_OF_THEM = (
    "import pytest\n\npytestmark = pytest.mark.timeout(10)\n\n\n@pytest.mark.infra\ndef test_it(): ...\n"
)


@pytest.mark.parametrize(
    ("text", "wanted", "left_out"),
    [
        (WHOLE, "not infra and not slow", True),
        (SEVERAL, "not slow and not infra", True),
        (ONE_OF_THEM, "not infra and not slow", False),
        (WHOLE, "not slow", False),
        (WHOLE, "infra", False),
        (WHOLE, "not infra or slow", False),
        (WHOLE, "not (infra and long)", False),
        (WHOLE, "", False),
    ],
)
def test_a_file_is_left_out_where_none_of_its_tests_can_be_wanted(
    pytestconfig: pytest.Config, tmp_path: Path, text: str, wanted: str, left_out: bool
) -> None:
    path = tmp_path / "test_it.py"
    path.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pytestconfig.option, "markexpr", wanted)
        ignored = pytestconfig.hook.pytest_ignore_collect(collection_path=path, config=pytestconfig)
    assert bool(ignored) is left_out
