"""A proxy that does to requests what networks do to them."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

ANSWER = "answer"
DROP = "drop"  # the server has done it, nobody hears of it
HALF = "half"  # half of the answer comes back
REFUSE = "refuse"  # it never reaches the server


class UnreliableProxy(ThreadingHTTPServer):
    """Passes requests on to `target`. What becomes of them: the next of `fates`, after the last an answer.

    A fate is one of the words above, or (status, Retry-After) of an answer that the server never sees.
    """

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target)
        self.fates: list[str | tuple[int, str]] = []
        self.passed_on = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: UnreliableProxy

    def do_POST(self) -> None:
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fate = self.server.fates.pop(0) if self.server.fates else ANSWER
        if isinstance(fate, tuple):
            self._answer(fate[0], [("Retry-After", fate[1])], b"<html>Come back later</html>")
        elif fate != REFUSE:
            status, headers, answer = self._passed_on(body)
            if fate == ANSWER:
                self._answer(status, headers, answer)
            elif fate == HALF:
                self._answer(status, headers, answer, sent=len(answer) // 2)

    do_GET = do_POST

    def _passed_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        self.server.passed_on += 1
        target = self.server.target
        connection = http.client.HTTPConnection(str(target.hostname), target.port, timeout=30)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            hop_by_hop = ("connection", "transfer-encoding", "content-length", "date", "server")
            headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in hop_by_hop]
            return answer.status, headers, answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, sent: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:sent])

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""


@contextmanager
def unreliable_proxy(target: str) -> Iterator[UnreliableProxy]:
    with UnreliableProxy(target) as proxy:
        thread = Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
