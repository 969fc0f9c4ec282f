"""Other code lists are taken up while the registry serves: what a CV may name, and what a municipality is called."""

from pathlib import Path
from typing import Any

import pytest

from cv_contracts.codelists import DATA
from cv_registry.app import create_app
from cv_registry.settings import SERVICE
from cv_registry.testing import (
    RegistryClient,
    SettableClock,
    a_citizen,
    a_cv,
    some_settings,
)
from servicekit.settings import PostgresSettings
from servicekit.testing import eventually
from servicekit.web.testing import Identities, in_process

pytestmark = pytest.mark.infra


def put(folder: Path, name: str, text: str) -> None:
    partial = folder / f"{name}.partial"
    partial.write_text(text)
    partial.replace(folder / f"{name}.csv")


async def test_a_language_is_accepted_and_a_municipality_renamed_without_a_restart(
    postgres: PostgresSettings, tmp_path: Path, clock: SettableClock, identities: Identities
) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    identity, signers = identities.settings(SERVICE), identities.signers
    settings = some_settings(postgres, identity, code_lists=folder)
    cv: dict[str, Any] = a_cv()
    cv["CV"]["LanguageSkillCollection"] = [{"Code": "tlh", "Level": "Expert"}]
    async with in_process(create_app(settings, clock=clock)) as (http, _):
        registry, citizen = RegistryClient(http, signers), a_citizen()
        number = citizen["personNumber"]
        await registry.register(citizen)
        assert (await registry.replace(number, cv)).json()["code"] == 1014
        put(folder, "languages", (DATA / "languages.csv").read_text() + "tlh,Klingon\n")
        municipalities = (DATA / "municipalities.csv").read_text()
        put(folder, "municipalities", municipalities.replace(",København,", ",Hafnia,", 1))

        async def is_taken_up() -> None:
            assert (await registry.replace(number, cv)).status_code == 200
            answer = (await registry.get(number)).json()
            assert answer["CVProfile"]["CV"]["LanguageSkillCollection"][0]["Name"] == "Klingon"
            assert answer["Municipality"]["MunicipalityName"] == "Hafnia"

        await eventually(is_taken_up)
