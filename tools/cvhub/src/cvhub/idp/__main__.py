"""`python -m cvhub.idp FOLDER PORT [--host HOST] [--issuer URL]` serves the provider whose keys and secret lie in FOLDER."""

import secrets
from argparse import ArgumentParser
from pathlib import Path

import uvicorn

from cvhub.idp.app import Provider, create_app
from cvhub.idp.keys import KeyFolder


def client_secret(folder: Path) -> str:
    """Read the secret of the local clients; made when first asked for."""
    file = folder / "client-secret"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(32))
    return file.read_text()


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--issuer")
    told = parser.parse_args()
    keys = KeyFolder(told.folder / "keys")
    keys.prepare()
    issuer = told.issuer or f"http://127.0.0.1:{told.port}"
    app = create_app(Provider(issuer, client_secret(told.folder), keys))
    uvicorn.run(app, host=told.host, port=told.port, log_level="warning", access_log=False, lifespan="off")


if __name__ == "__main__":
    main()
