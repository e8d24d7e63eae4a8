"""JSON over HTTP with retries, from threads, such that requests under way can be dropped at once."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from rollout.types import EngineError

if TYPE_CHECKING:
    from rollout.config import ServerOptions

_LONGEST_WAIT = 60.0
_LONGEST_CONNECT = 30.0
_TRY_AGAIN = {408, 409, 425, 429}


class RefusedError(EngineError):
    """The server answered with an error that another try won't change."""

    def __init__(self, message: str, status: int, answer: str):
        super().__init__(message)
        self.status = status
        self.answer = answer


class DroppedError(Exception):
    """The request was given up by `HttpApi.drop`."""


class HttpApi:
    """One server's JSON API; safe for use from several threads.

    Timeouts, lost connections, HTTP 408, 409, 425, 429 and 5xx are tried again `retries` times, after
    `backoff` seconds that double each time or after what the server's Retry-After says, at most 60 seconds.
    Proxies of the environment (HTTPS_PROXY, NO_PROXY) are used.
    """

    def __init__(self, options: ServerOptions):
        parts = urlsplit(options.base_url.rstrip("/"))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise EngineError(
                f"server.base_url is {options.base_url!r}, but must be an address as in http://localhost:8000/v1"
            )
        self._options = options
        self._parts = parts
        self._key = os.environ.get(options.api_key_env, "")
        self._connections: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()
        self._dropped = threading.Event()

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The decoded answer; raises `RefusedError`, or `EngineError` when the last try has failed too."""
        failure = ""
        for attempt in range(self._options.retries + 1):
            wait = min(self._options.backoff * 2**attempt, _LONGEST_WAIT)
            try:
                status, headers, answer = self._once(method, path, body)
            except (OSError, http.client.HTTPException) as error:
                failure = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            else:
                if status < 400:
                    return self._decoded(answer)
                failure = f"HTTP {status}: {_message(answer)}"
                if status < 500 and status not in _TRY_AGAIN:
                    raise RefusedError(self._refusal(status, failure), status, answer)
                wait = _retry_after(headers, wait)
            if attempt < self._options.retries and self._dropped.wait(wait):
                raise DroppedError
        tries = self._options.retries + 1
        raise EngineError(
            f"the server at {self._options.base_url} failed {tries} times, at last with {failure}"
        )

    def drop(self) -> None:
        """End every request under way with `DroppedError`, by closing its connection, and all later ones."""
        self._dropped.set()
        with self._lock:
            for connection in self._connections:
                if connection.sock is not None:
                    # Wakes the thread that reads from it, which close() alone doesn't.
                    try:
                        connection.sock.shutdown(socket.SHUT_RDWR)
                    except OSError:
                        continue

    def _once(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> tuple[int, http.client.HTTPMessage, str]:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        connection = self._connection()
        try:
            connection.connect()
            connection.sock.settimeout(self._options.timeout)
            with self._lock:
                self._connections.add(connection)
            if self._dropped.is_set():
                raise DroppedError
            payload = None if body is None else json.dumps(body).encode()
            connection.request(method, self._parts.path + path, payload, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode("utf-8", errors="replace")
        except (OSError, http.client.HTTPException):
            if self._dropped.is_set():
                raise DroppedError from None
            raise
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        scheme, host, port = self._parts.scheme, self._parts.hostname, self._parts.port
        assert host is not None
        https = scheme == "https"
        timeout = min(self._options.timeout, _LONGEST_CONNECT)
        kind = http.client.HTTPSConnection if https else http.client.HTTPConnection
        proxy = None if proxy_bypass(host) else getproxies().get(scheme)
        if not https or not proxy:
            return kind(host, port, timeout=timeout)
        through = urlsplit(proxy)
        connection = kind(through.hostname or "", through.port, timeout=timeout)
        connection.set_tunnel(host, port)
        return connection

    def _decoded(self, answer: str) -> Any:
        try:
            return json.loads(answer)
        except ValueError as error:
            raise EngineError(
                f"the server at {self._options.base_url} answers {answer[:100]!r}, no JSON"
            ) from error

    def _refusal(self, status: int, failure: str) -> str:
        text = f"the server at {self._options.base_url} refuses the request, {failure}"
        return f"{text}; set {self._options.api_key_env} to a valid key" if status in (401, 403) else text


def _message(answer: str) -> str:
    """The message of an error answer of the API, in one line."""
    try:
        content = json.loads(answer)
    except ValueError:
        content = answer
    if isinstance(content, dict):
        error = content.get("error", content)
        content = error.get("message", error) if isinstance(error, dict) else error
    return " ".join(str(content).split())[:300]


def _retry_after(headers: http.client.HTTPMessage, wait: float) -> float:
    """Seconds by the Retry-After header, which may also hold a date; `wait` where it holds no number."""
    try:
        return min(max(float(headers["Retry-After"]), 0.0), _LONGEST_WAIT)
    except (TypeError, ValueError):
        return wait
