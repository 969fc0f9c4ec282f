"""A stand-in for an OpenTelemetry collector: keeps every byte that services export over OTLP/HTTP."""

import gzip
import threading
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from cv_contracts.wire import is_cv_number

REQUESTS: dict[str, Any] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
}
END_OF_HEADERS = b"\n\n"


class Collector:
    """`received` holds the path and the unpacked body of each export."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes]] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                received.append((self.path, str(self.headers).encode() + body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named so where it comes from
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def of(self, path: str) -> list[bytes]:
        return [body for known, body in self.received if known == path]

    def services(self, path: str) -> set[str]:
        """Name who has exported there."""
        return {
            attribute.value.string_value
            for received in self.of(path)
            for _, resources in message(path, received).ListFields()
            for one in resources
            for attribute in one.resource.attributes
            if attribute.key == "service.name"
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


def message(path: str, received: bytes) -> Any:
    """Give the request that was received there."""
    return REQUESTS[path].FromString(received.partition(END_OF_HEADERS)[2])


def texts(value: Any) -> Iterator[str]:
    """Give every text of a message, each as it was before its length stood before it, and every whole number of an attribute."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, AnyValue) and value.HasField("int_value"):
        yield str(value.int_value)
    elif hasattr(value, "ListFields"):
        for _, inner in value.ListFields():
            yield from texts(inner)
    elif hasattr(value, "__len__"):
        for inner in value:
            yield from texts(inner)


def exported(path: str, said: Iterable[str]) -> bytes:
    """Give an export that says these texts, and CV numbers as the whole numbers that they are on the wire."""
    request = REQUESTS[path]()
    if path == "/v1/traces":
        scope = request.resource_spans.add().scope_spans.add()
    else:
        scope = request.resource_metrics.add().scope_metrics.add()
    for text in said:
        if is_cv_number(text):
            scope.scope.attributes.add(key="cv", value=AnyValue(int_value=int(text)))
        elif path == "/v1/traces":
            scope.spans.add(name=text)
        else:
            scope.metrics.add(description=text)
    content: bytes = request.SerializeToString()
    return content
