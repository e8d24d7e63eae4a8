"""A small server with the OpenAI API, run as a process of its own, that fails in the ways that servers do.

    python -m tests.rollout.openai_server --fail 503 429 --strict --delay 0.1 --key secret

It prints its port. A completion repeats the last prompt and tells the seed; `GET /v1/log` tells what was asked.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OPENAI_FIELDS = set(
    "model prompt messages max_completion_tokens temperature top_p seed stop logprobs n".split()  # noqa: SIM905
)


class Server(ThreadingHTTPServer):
    """The server's options and what it has seen."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, options: argparse.Namespace):
        super().__init__(("127.0.0.1", 0), Handler)
        self.options = options
        self.failures = list(options.fail)
        self.lock = threading.Lock()
        self.log: dict[str, Any] = {"bodies": [], "times": [], "most_at_once": 0, "disconnected": 0}
        self.at_once = 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/v1/log":
            self.answer(200, self.server.log)
        else:
            model = {"id": "tiny", "root": "/models/tiny", "created": time.time()}
            self.answer(200, {"object": "list", "data": [model]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.log["bodies"].append(body)
            server.log["times"].append(time.monotonic())
            server.at_once += 1
            server.log["most_at_once"] = max(server.at_once, server.log["most_at_once"])
            failure = server.failures.pop(0) if server.failures else None
        try:
            self.respond(body, failure)
        finally:
            with server.lock:
                server.at_once -= 1

    def respond(self, body: dict[str, Any], failure: str | None) -> None:
        options = self.server.options
        if failure == "drop":
            self.connection.shutdown(socket.SHUT_RDWR)
        elif failure == "hang":
            time.sleep(30)
        elif failure == "html":
            self.answer(200, "<html>a proxy</html>")
        elif failure:
            self.answer(
                int(failure), {"error": {"message": "try\nlater"}}, {"Retry-After": options.retry_after}
            )
        elif options.key and self.headers["Authorization"] != f"Bearer {options.key}":
            self.answer(401, {"error": {"message": "Incorrect API key provided"}})
        elif options.strict and (unknown := sorted(body.keys() - OPENAI_FIELDS)):
            hint = "; use 'max_completion_tokens' instead" if unknown[0] == "max_tokens" else ""
            self.answer(400, {"error": {"message": f"Unrecognized request argument: {unknown[0]}{hint}"}})
        elif self.wait(0 if len(self.server.log["bodies"]) <= options.quick else options.delay):
            self.answer(200, self.completion(body))

    def wait(self, seconds: float) -> bool:
        """Wait, and tell whether the client is still there."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            readable, _, _ = select.select([self.connection], [], [], left)
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                with self.server.lock:
                    self.server.log["disconnected"] += 1
                return False
        return True

    def completion(self, body: dict[str, Any]) -> dict[str, Any]:
        chat = "messages" in body
        prompt = body["messages"][-1]["content"] if chat else body["prompt"]
        full = f"{prompt} seed {body.get('seed')} END tail"
        text, reason = full, "stop"
        for stop in body.get("stop", []):
            if stop in text:
                end = text.index(stop) + (len(stop) if body.get("include_stop_str_in_output") else 0)
                text = text[:end]
        limit = body.get("max_tokens", body.get("max_completion_tokens"))
        if len(text) > limit:
            text, reason = text[:limit], "length"
        choice: dict[str, Any] = {"index": 0, "finish_reason": reason}
        choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        drawn = [-0.5 - i for i in range(len(text))]
        if "logprobs" in body:
            if chat:
                content = [{"token": t, "logprob": p} for t, p in zip(text, drawn, strict=True)]
                choice["logprobs"] = {"content": content}
            else:
                choice["logprobs"] = {"tokens": list(text), "token_logprobs": drawn}
        if body.get("return_token_ids"):
            choice |= {"token_ids": [ord(c) for c in text], "prompt_token_ids": [ord(c) for c in prompt]}
        return {"object": "completion", "model": body["model"], "choices": [choice]}

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        payload = (content if isinstance(content, str) else json.dumps(content)).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--fail", nargs="*", default=[], help="what the first requests get: a status, drop, hang"
    )
    parser.add_argument("--retry-after", default="0")
    parser.add_argument("--strict", action="store_true", help="refuse what the OpenAI API doesn't know")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before an answer")
    parser.add_argument("--quick", type=int, default=0, help="requests that are answered without a delay")
    parser.add_argument("--key", default="")
    server = Server(parser.parse_args())
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
