"""Who may call which method. What is not listed here is not served.

On loopback, unless grpc.require_callers says otherwise, whoever is on the machine
may call what a gateway and an internal service call. Everywhere else every caller
proves itself, by a token or by its certificate, and AdminService asks for that on
loopback too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc

from wxauth.v1 import admin_service_pb2
from wxauth_client.file_watch import FileWatch
from wxauth_server.admin_token import AdminToken
from wxauth_server.callers.caller import SERVER_ADMIN_NAME, Caller, CallerBook, Role
from wxauth_server.callers.tokens import ADMIN_PREFIX
from wxauth_server.clock import Clock
from wxauth_server.errors import CallerForbidden, CallerUnauthenticated
from wxauth_server.rpc.client_certificates import ClientCertificate, read_client_certificate

_GATEWAY = frozenset({Role.GATEWAY})
_WHO_VALIDATES = frozenset({Role.GATEWAY, Role.SERVICE})
_ADMIN = frozenset({Role.ADMIN})
#: Whoever is a caller at all.
_ALL = frozenset(Role)
#: Whoever reaches the port: what looks after servers proves nothing.
OPEN: frozenset[Role] = frozenset()

_ADMINISTRATION = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"]

#: Each method -> the roles of which a caller needs one.
ROLES: Mapping[str, frozenset[Role]] = {
    "/wxauth.v1.AuthService/Login": _GATEWAY,
    "/wxauth.v1.AuthService/ValidateSession": _WHO_VALIDATES,
    "/wxauth.v1.AuthService/BatchValidateSessions": _WHO_VALIDATES,
    "/wxauth.v1.AuthService/Unbind": _GATEWAY,
    "/wxauth.v1.AuthService/Logout": _GATEWAY,
    "/wxauth.v1.AuthService/ListSessions": _GATEWAY,
    "/wxauth.v1.AuthService/RevokeSession": _GATEWAY,
    "/wxauth.v1.AuthService/DeleteAccount": _GATEWAY,
    "/wxauth.v1.WeChatService/DecryptUserData": _GATEWAY,
    "/wxauth.v1.WeChatService/VerifyUserData": _GATEWAY,
    "/wxauth.v1.WeChatService/GetPhoneNumber": _GATEWAY,
    "/wxauth.v1.WeChatService/CheckSessionKey": _GATEWAY,
    "/wxauth.v1.WeChatService/ResetSessionKey": _GATEWAY,
    **{f"/{_ADMINISTRATION.full_name}/{method.name}": _ADMIN for method in _ADMINISTRATION.methods},
    "/grpc.health.v1.Health/Check": OPEN,
    "/grpc.health.v1.Health/Watch": OPEN,
    "/grpc.health.v1.Health/List": _ALL,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _ALL,
}

#: Who has the token of the server's data directory.
SERVER_ADMIN = Caller(name=SERVER_ADMIN_NAME, roles=_ADMIN, created_ms=0)


class Callers:
    """Tells who may call."""

    def __init__(
        self,
        admin_token: AdminToken | None,
        book: FileWatch[CallerBook] | None,
        clock: Clock,
        *,
        required: bool,
    ) -> None:
        """Without a book nobody but the owner of the admin token is known.

        `required`: methods of gateways and services ask for a caller too.
        """
        self._admin_token = admin_token
        self._book = book
        self._clock = clock
        self._required = required

    def check(self, roles: frozenset[Role], context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Raises: CallerUnauthenticated, CallerForbidden."""
        if not roles or not (self._required or roles == _ADMIN):
            return
        caller = self.who(context)
        if caller is None:
            raise CallerUnauthenticated
        if not caller.roles & roles:
            raise CallerForbidden(caller.name)

    def who(self, context: grpc.aio.ServicerContext[Any, Any]) -> Caller | None:
        """Who calls: by the token, if one is sent, else by the certificate."""
        sent = _authorization(context)
        if not sent:
            return self._of_certificate(context)
        token = _bearer(sent)
        if token is None:
            return None
        if token.startswith(ADMIN_PREFIX):
            is_ours = self._admin_token is not None and self._admin_token.is_token(token)
            return SERVER_ADMIN if is_ours else None
        if self._book is None:
            return None
        return self._book.value.of_token(token, self._clock.now_ms())

    def claims(self, context: grpc.aio.ServicerContext[Any, Any]) -> dict[str, object]:
        """What a caller that was refused is known by, for the log; never its token."""
        if (caller := self.who(context)) is not None:
            return {"caller": caller.name}
        sent = _authorization(context)
        if not sent:
            certificate = _certificate(context)
            return {"certificate_names": certificate.names[:3]} if certificate else {}
        token = _bearer(sent)
        if token is None or self._book is None:
            return {}
        # Of a time before every end: whose token this was.
        ended = self._book.value.of_token(token, 0)
        return {"caller": ended.name, "token": "ended"} if ended else {}

    def _of_certificate(self, context: grpc.aio.ServicerContext[Any, Any]) -> Caller | None:
        if self._book is None:
            return None
        certificate = _certificate(context)
        if certificate is None or certificate.ends_ms <= self._clock.now_ms():
            return None
        return self._book.value.of_certificate(certificate.names)


def _authorization(context: grpc.aio.ServicerContext[Any, Any]) -> list[str | bytes]:
    # Names of metadata are lower case on the wire (RFC 9113 section 8.2.1).
    return [value for key, value in context.invocation_metadata() or () if key == "authorization"]


def _bearer(sent: list[str | bytes]) -> str | None:
    """The one token that was sent."""
    if len(sent) != 1 or not isinstance(sent[0], str):
        return None
    scheme, _, token = sent[0].partition(" ")
    return token if scheme.lower() == "bearer" else None


def _certificate(context: grpc.aio.ServicerContext[Any, Any]) -> ClientCertificate | None:
    for pem in context.auth_context().get("x509_pem_cert", ()):
        return read_client_certificate(pem)
    return None
