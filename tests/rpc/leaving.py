"""What the tests of users who leave, and of the purge, do and look at."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.running_server import RunningServer
from wxauth.v1.auth_service_pb2 import DeleteAccountRequest, DeleteAccountResponse

PASSWORD = "correct horse battery"
DAY_MS = 86_400_000


def delete(server: RunningServer, session_id: str, **proof: str) -> DeleteAccountResponse:
    request = DeleteAccountRequest(session_id=session_id, **proof)
    return server.stub.DeleteAccount(request, timeout=10)


def logged_in(server: RunningServer, user: str, **fields: Any) -> str:
    """The SessionId of a login."""
    return server.login(code=server.code(user), **fields).session_id


def purge(server: RunningServer) -> None:
    """One round, now instead of within a minute."""
    asyncio.run_coroutine_threadsafe(server.server.purger.purge(), server.loop).result(60)


def count(server: RunningServer, table: str) -> int:
    [(rows,)] = server.rows(f"SELECT COUNT(*) FROM {table}")
    return int(rows)
