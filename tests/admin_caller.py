"""AdminService as an operator calls it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import grpc

from tests.canary import CANARY
from tests.running_server import RunningServer
from wxauth.v1.admin_service_pb2 import AccountKey, CreateAccountRequest
from wxauth.v1.admin_service_pb2_grpc import AdminServiceStub
from wxauth_server.admin_token import FILE_NAME

PASSWORD = "correct horse battery"


class AdminCaller:
    """Each method takes its request and gives its response."""

    def __init__(self, channel: grpc.Channel, token: str | None) -> None:
        """Without a token the certificate of the channel has to do."""
        self._stub: Any = AdminServiceStub(channel)
        self._metadata = () if token is None else (("authorization", f"Bearer {token}"),)

    def __getattr__(self, method: str) -> Callable[[Any], Any]:
        return partial(getattr(self._stub, method), timeout=10, metadata=self._metadata)

    def add(self, username: str, account_id: str, **fields: Any) -> None:
        """An account of our own store."""
        self.CreateAccount(CreateAccountRequest(username=username, id=account_id, **fields))


def token_of(server: RunningServer) -> str:
    path = server.configuration.store.directory / FILE_NAME
    return CANARY.keep(path.read_text().strip())


def admin_of(server: RunningServer) -> AdminCaller:
    """Who has the token of the server's data directory."""
    return AdminCaller(server.channel, token_of(server))


def by_id(account_id: str, source: str = "") -> AccountKey:
    return AccountKey(id=account_id, source=source)


def by_name(username: str) -> AccountKey:
    return AccountKey(username=username)
