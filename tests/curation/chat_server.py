"""A chat server on this machine with the API that OpenAI defined, whose replies a function gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from rollout import EngineConfig
from rollout.config import ServerOptions


class RefusalError(Exception):
    """Raised by a reply function: the server answers HTTP 400 with this message."""


@contextmanager
def chat_server(reply: Callable[[str], str]) -> Iterator[EngineConfig]:
    """Serve `/v1/chat/completions` while the context lasts; gives the settings of an engine that asks it.

    Args:
        reply: the text of the answer to the last message's text.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, {"data": [{"id": "stand-in", "owned_by": "tests"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                text = reply(body["messages"][-1]["content"])
            except RefusalError as refusal:
                self._send(400, {"error": {"message": str(refusal), "code": 400}})
                return
            message = {"role": "assistant", "content": text}
            self._send(200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

        def _send(self, status: int, value: object) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 256

    with Server(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}/v1"
            yield EngineConfig(kind="openai", model="stand-in", server=ServerOptions(base_url=url))
        finally:
            server.shutdown()
