"""Talk to a running server over HTTP or HTTPS.

Standard library only, because it is imported by commands that must answer at once.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from compozy.errors import CompozyError

TIMEOUT_S = 30.0
_EXIT_CODES = {"http.unauthorized": 2, "internal": 1}  # of problems that carry none
# At the command line the setting is named, not the header that a program would send.
_TEXTS = {
    "http.unauthorized": (
        "the server needs another server.api_key",
        "set it in compozy.yaml, in .env or with the variable COMPOZY_SERVER__API_KEY",
    )
}


class ServerError(CompozyError):
    """What the running server answered in the place of a result; `id` and exit code are the server's."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.id = str(problem.get("id", "server.error"))  # type: ignore[misc]
        text, hint = _TEXTS.get(self.id, (str(problem.get("detail") or problem.get("title")), problem.get("hint")))
        super().__init__(text, hint=hint)
        self.exit_code = int(problem.get("exit_code") or _EXIT_CODES.get(self.id, 4))  # type: ignore[misc]


class ServerGoneError(CompozyError):
    """The server does not answer."""

    id = "server.unreachable"
    exit_code = 4


class Client:
    """Requests to one server; a response is JSON or a problem document (RFC 9457)."""

    def __init__(self, url: str, api_key: str | None, process: int | None = None) -> None:
        """Prepare requests to `url`, which may have a path; `process` is the server's id on this machine."""
        self._address = urlsplit(url)
        self._name = f"{url} (process {process})" if process else url
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def get(self, path: str) -> Any:
        """Return the JSON of a GET request; see `request`."""
        return self.request("GET", path)

    def post(self, path: str, body: Any = None, *, timeout_s: float = TIMEOUT_S) -> Any:
        """Return the JSON of a POST request; see `request`."""
        return self.request("POST", path, body, timeout_s=timeout_s)

    def request(self, method: str, path: str, body: Any = None, *, timeout_s: float = TIMEOUT_S) -> Any:
        """Return the JSON of a response.

        Raises:
            ServerError: the server answered with a problem.
            ServerGoneError: the server does not answer.
        """
        connection = self._connection(timeout_s)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, self._address.path.rstrip("/") + path, payload, self._headers)
            response = connection.getresponse()
            return _result(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            hint = "see its log, or stop it and run compozy start again"
            raise ServerGoneError(f"the server at {self._name} does not answer: {error}", hint=hint) from error
        finally:
            connection.close()

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        host, port = str(self._address.hostname), self._address.port
        if self._address.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=timeout_s)  # verifies the certificate
        return http.client.HTTPConnection(host, port, timeout=timeout_s)


def _result(status: int, text: bytes) -> Any:
    try:
        content = json.loads(text or b"null")
    except ValueError as error:
        raise http.client.HTTPException(f"status {status} without JSON; it is not a Compozy server") from error
    if status >= 400 and isinstance(content, dict) and "components" not in content:
        raise ServerError(content)
    return content
