"""How the cluster is reached: as the settings say, whatever the environment of the process says of other calls."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from cv_search.opensearch_engine.calling import Cluster
from cv_search.port import EngineError
from cv_search.settings import IndexSettings
from cvhub.sinks.certificate import certificate_file, ensure_certificate


class _Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        authorization = self.headers.get("authorization", "")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"authorization": "%b"}' % authorization.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its owner named it
        pass


@contextmanager
def _stand_in(tls: ssl.SSLContext | None = None) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answering) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


@pytest.fixture
def cluster() -> Iterator[Callable[..., Cluster]]:
    made = list[Cluster]()

    def make(url: str, ca_file: Path | None = None) -> Cluster:
        made.append(Cluster(url, ca_file))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_neither_a_proxy_nor_a_password_of_the_environment_is_used(
    cluster: Callable[..., Cluster], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password elses\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with _stand_in() as url:
        assert cluster(url).ask("GET", "/") == {"authorization": ""}
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        assert cluster(url).ask("GET", "/") == {"authorization": ""}


def test_an_authority_of_its_own_is_trusted_where_it_is_named_and_only_there(
    cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    with _stand_in(ensure_certificate(tmp_path)) as url:
        assert cluster(url, certificate_file(tmp_path)).ask("GET", "/") is not None
        with pytest.raises(EngineError, match="ConnectError"):
            cluster(url).ask("GET", "/")


def test_the_password_of_the_cluster_is_not_shown() -> None:
    assert "secret" not in repr(IndexSettings(opensearch_url="http://u:secret@h:9200"))
