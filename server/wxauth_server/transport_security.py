"""What a command that serves makes sure of before other machines can reach it."""

from __future__ import annotations

import os

from wxauth_client.certificates import ServerTls
from wxauth_client.file_watch import FileUnusable
from wxauth_gateway.settings import GatewaySettings
from wxauth_server.callers.watching import watch_callers, watch_server_certificates
from wxauth_server.config import Configuration

#: Variables that have libraries log what passes through them: gRPC's core the
#: tokens and SessionIds of calls, asyncio the arguments of slow callbacks
#: (reliability.md row 45).
DEBUGGING = ("GRPC_TRACE", "PYTHONASYNCIODEBUG", "PYTHONDEVMODE")


class UnsafeToServe(Exception):
    """Something is missing before others may reach it. A line of the text for each thing."""


def refuse_unsafe_server(configuration: Configuration) -> None:
    """Refuse to start a gRPC server that lacks something, before anything is made.

    On loopback only what is configured has to be usable. Raises: UnsafeToServe.
    """
    problems = []
    for watch in (watch_server_certificates, watch_callers):
        try:
            watch(configuration)
        except FileUnusable as problem:
            problems.append(str(problem))
    if not configuration.grpc.is_loopback:
        if configuration.is_development:
            problems.append(
                f"grpc.listen: {configuration.grpc.listen} is not loopback, and no mini-program "
                "is configured: the secret of the demo one is public, so give [[apps]]"
            )
        problems.extend(_debugging(configuration.grpc.listen))
    if problems:
        raise UnsafeToServe("\n".join(problems))


def refuse_unsafe_gateway(settings: GatewaySettings) -> None:
    """Raises: UnsafeToServe."""
    problems = [] if settings.is_loopback else _debugging(settings.listen)
    if problems:
        raise UnsafeToServe("\n".join(problems))


def transport(tls: ServerTls | None) -> str:
    """How a part speaks with others, for the log."""
    if tls is None:
        return "plaintext"
    return "tls" if tls.client_ca_file is None else "mtls"


def _debugging(listen: str) -> list[str]:
    return [
        f"{variable} is set: it would write tokens and SessionIds to the log; unset it, or "
        f"listen on loopback instead of {listen}"
        for variable in DEBUGGING
        if os.environ.get(variable)
    ]
