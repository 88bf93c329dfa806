"""Who may call which service. What is not listed here is not served.

The server listens on loopback only: whoever is on the machine may call what a
gateway and an internal service call. AdminService asks for its token there too.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import grpc

from wxauth_server.admin_token import AdminToken
from wxauth_server.errors import CallerUnauthenticated


class Role(Enum):
    """What a caller must be."""

    #: Anybody who reaches the port.
    ANYONE = "anyone"
    #: Who has the token of the server's data directory.
    ADMIN = "admin"


#: Full name of each service -> who may call all its methods.
ROLES: Mapping[str, Role] = {
    "wxauth.v1.AuthService": Role.ANYONE,
    "wxauth.v1.WeChatService": Role.ANYONE,
    "wxauth.v1.AdminService": Role.ADMIN,
    "grpc.health.v1.Health": Role.ANYONE,
    "grpc.reflection.v1alpha.ServerReflection": Role.ANYONE,
}


class Callers:
    """Tells who may call. Without a token nobody is an administrator."""

    def __init__(self, admin_token: AdminToken | None) -> None:
        self._admin_token = admin_token

    def check(self, role: Role, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Raises: CallerUnauthenticated."""
        if role is Role.ADMIN and not self._is_admin(context):
            raise CallerUnauthenticated

    def _is_admin(self, context: grpc.aio.ServicerContext[Any, Any]) -> bool:
        sent = [
            value for key, value in context.invocation_metadata() or () if key == "authorization"
        ]
        if self._admin_token is None or len(sent) != 1 or not isinstance(sent[0], str):
            return False
        scheme, _, token = sent[0].partition(" ")
        return scheme.lower() == "bearer" and self._admin_token.is_token(token)
