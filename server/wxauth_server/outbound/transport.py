"""How bytes go to an HTTP server and come back: pooled, bounded in time and size. No JSON here.

No exception leaves this module, because those of requests and urllib3 hold the
request: WeChat's URL has the AppSecret and the code in it or an access_token, and
the body to an account source a password.
"""

from __future__ import annotations

import http.client
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import urllib3
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from wxauth_server.outbound.connections import BoundedAdapter

# An honest answer has a few thousand bytes at most: WeChat's token of 512 characters, or an
# account with its names.
MAX_BODY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer. `body` is None if it exceeded MAX_BODY_BYTES."""

    status: int
    body: bytes | None
    #: The header of that name as it came, "" without one.
    retry_after: str = ""
    #: Likewise: when the server says that it answered.
    date: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """No complete answer. `error` is the name of an exception class, fit for a log.

    `connected` is False if the request was certainly not sent, so that sending
    it again cannot do twice what it asks for, such as burning a code.
    """

    error: str
    connected: bool
    timed_out: bool


class Transport:
    """Asks the paths under one base URL. Thread-safe; blocking.

    Reads no environment: no proxies, no netrc, no CA bundle from there. (An
    outgoing proxy would see the secrets in a request to a plain-HTTP base_url;
    whoever needs a relay names it as base_url.) Follows no redirect, keeps no
    cookie.

    `connect_timeout_s` covers all addresses and TLS, `read_timeout_s` the whole
    answer, both in seconds; `connections` are kept open at most. The server's
    certificate is checked against certifi's authorities, or in their place
    those in `ca_file`, in PEM.
    """

    def __init__(
        self,
        base_url: str,
        *,
        connect_timeout_s: float,
        read_timeout_s: float,
        connections: int,
        ca_file: Path | None = None,
    ) -> None:
        _silence_urllib3()
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._verify: bool | str = str(ca_file) if ca_file else True
        self._adapter = BoundedAdapter(pool_connections=1, pool_maxsize=connections)
        # identity: what is capped is then what is read, with no bomb to decompress.
        headers = {"Accept-Encoding": "identity", "User-Agent": "wxauth"}
        self._template = requests.Request("GET", base_url, headers=headers).prepare()
        self._base_url = (self._template.url or "").rstrip("/")

    def send(
        self,
        path: str,
        query: str,
        total_s: float,
        json_body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer | Failure:
        """GET `path` with `query` (already encoded), or POST `json_body` to it.

        The answer, or why there is none, within `total_s`.
        """
        request = self._template.copy()
        request.url = f"{self._base_url}{path}?{query}" if query else f"{self._base_url}{path}"
        if json_body is not None:
            request.method, request.body = "POST", json_body
            request.headers["Content-Type"] = "application/json"
            request.headers["Content-Length"] = str(len(json_body))
        request.headers.update(headers or {})
        # HTTPAdapter.send documents that it takes urllib3's Timeout; its stub forgets it.
        timeout: Any = urllib3.Timeout(
            total=total_s, connect=self._connect_timeout_s, read=self._read_timeout_s
        )
        try:
            # The adapter itself: a Session would add redirects, cookies and the environment.
            with self._adapter.send(
                request, stream=True, timeout=timeout, verify=self._verify
            ) as response:
                body: bytes = response.raw.read(MAX_BODY_BYTES + 1, decode_content=False)
                # urllib3 complains of a body that is cut only to who reads on.
                body += response.raw.read(MAX_BODY_BYTES + 1 - len(body), decode_content=False)
                return Answer(
                    response.status_code,
                    body if len(body) <= MAX_BODY_BYTES else None,
                    response.headers.get("Retry-After", ""),
                    response.headers.get("Date", ""),
                )
        except (
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            OSError,
            ValueError,
        ) as error:
            # Nothing of the error but its class survives this block, nor does its context.
            return _failure_of(error)

    def close(self) -> None:
        """Drop the idle connections. Calls under way end as they would."""
        self._adapter.close()


def _failure_of(error: Exception) -> Failure:
    cause: object = error
    if isinstance(error, requests.RequestException) and error.args:
        cause = getattr(error.args[0], "reason", None) or error.args[0]
    return Failure(
        error=type(cause if isinstance(cause, Exception) else error).__name__,
        connected=not isinstance(cause, (NewConnectionError, ConnectTimeoutError)),
        timed_out=isinstance(error, requests.Timeout)
        or isinstance(cause, (TimeoutError, urllib3.exceptions.TimeoutError)),
    )


def _silence_urllib3() -> None:
    """Keep the URL out of the logs even when the root logger is at DEBUG.

    urllib3 logs it with every answer at DEBUG, and at WARNING when a server
    sends headers that do not parse.
    """
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    logging.getLogger("urllib3.connection").setLevel(logging.ERROR)
