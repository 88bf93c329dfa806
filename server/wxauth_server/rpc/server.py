"""The gRPC server itself: its limits, its health, its start and its graceful stop."""

from __future__ import annotations

import asyncio
import logging
import resource
from typing import TypeAlias, cast

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc
from grpc_reflection.v1alpha._async import ReflectionServicer

from wxauth.v1 import admin_service_pb2, auth_service_pb2, wechat_service_pb2
from wxauth.v1.admin_service_pb2_grpc import (
    AdminServiceServicer,
    add_AdminServiceServicer_to_server,
)
from wxauth.v1.auth_service_pb2_grpc import (
    AuthServiceServicer,
    add_AuthServiceServicer_to_server,
)
from wxauth.v1.wechat_service_pb2_grpc import (
    WeChatServiceServicer,
    add_WeChatServiceServicer_to_server,
)
from wxauth_client.certificates import Certificates
from wxauth_client.file_watch import FileWatch
from wxauth_server.rpc.callers import Callers
from wxauth_server.rpc.credentials import server_credentials
from wxauth_server.rpc.guard import GuardedServer
from wxauth_server.rpc.health import LimitedHealth
from wxauth_server.settings import GrpcSettings

log = logging.getLogger("wxauth.rpc")

AUTH_SERVICE = auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"].full_name
WECHAT_SERVICE = wechat_service_pb2.DESCRIPTOR.services_by_name["WeChatService"].full_name
ADMIN_SERVICE = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name
_HEALTH_SERVICE = "grpc.health.v1.Health"
_REFLECTION_SERVICE = "grpc.reflection.v1alpha.ServerReflection"

ChannelOptions: TypeAlias = tuple[tuple[str, int], ...]

#: reliability.md section 3 says why each; tests/rpc/test_limits.py proves them,
#: since grpcio accepts a misspelt name in silence.
CHANNEL_OPTIONS: ChannelOptions = (
    # Per connection. Not 100: grpcio counts a stream until its last frame has
    # left, and refused calls of a client that kept to 90 at a time (measured).
    ("grpc.max_concurrent_streams", 250),
    ("grpc.max_receive_message_length", 65_536),
    ("grpc.max_send_message_length", 1_048_576),
    # Equal, else the limit is drawn at random between them.
    ("grpc.max_metadata_size", 8_192),
    ("grpc.absolute_max_metadata_size", 8_192),
    ("grpc.max_connection_age_ms", 600_000),
    ("grpc.max_connection_age_grace_ms", 30_000),
    ("grpc.max_connection_idle_ms", 300_000),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.http2.settings_timeout", 10_000),
    ("grpc.max_allowed_incoming_connections", 4_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
    ("grpc.http2.max_ping_strikes", 2),
    ("grpc.http2.max_requests_per_read", 16),
    ("grpc.http.overload_protection", 1),
    ("grpc.server_max_unrequested_time_in_server", 5),
    # Two servers would silently share the port.
    ("grpc.so_reuseport", 0),
    ("grpc.enable_channelz", 0),
)

#: Calls of all connections at a time, health.MOST_WATCHES among them; more are
#: RESOURCE_EXHAUSTED.
MAX_CONCURRENT_RPCS = 8_000


class PortInUse(Exception):
    """The address cannot be listened on. The text names it."""


class RpcServer:
    """Serves the servicers on one address, on the running event loop."""

    def __init__(
        self,
        auth: AuthServiceServicer,
        wechat: WeChatServiceServicer,
        settings: GrpcSettings,
        *,
        admin: AdminServiceServicer | None = None,
        callers: Callers,
        certificates: FileWatch[Certificates] | None = None,
        options: ChannelOptions = CHANNEL_OPTIONS,
        maximum_concurrent_rpcs: int = MAX_CONCURRENT_RPCS,
    ) -> None:
        """Without `admin` AdminService is not served; without `certificates` it is plaintext."""
        self._settings = settings
        self._certificates = certificates
        logging.getLogger("grpc._cython.cygrpc").addFilter(_tells_no_metadata)
        self._server = grpc.aio.server(
            options=_within_descriptors(options), maximum_concurrent_rpcs=maximum_concurrent_rpcs
        )
        # The generated functions ask for a server; they use the two methods it has.
        guarded = cast("grpc.aio.Server", GuardedServer(self._server, callers))
        add_AuthServiceServicer_to_server(auth, guarded)
        add_WeChatServiceServicer_to_server(wechat, guarded)
        self._services = [AUTH_SERVICE, WECHAT_SERVICE]
        if admin is not None:
            add_AdminServiceServicer_to_server(admin, guarded)
            self._services.append(ADMIN_SERVICE)
        self._health = LimitedHealth(self._services)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, guarded)
        if settings.serves_reflection:
            if not settings.is_loopback:
                log.warning("reflection is on: every caller can list what this server can do")
            names = (*self._services, _HEALTH_SERVICE, _REFLECTION_SERVICE)
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(  # type: ignore[no-untyped-call]
                ReflectionServicer(names), guarded
            )

    async def start(self) -> int:
        """Listen and serve; the port, which the system chose if the setting's is 0.

        Raises: PortInUse.
        """
        problem = f"{self._settings.listen} is in use or cannot be listened on"
        try:
            if self._certificates is None:
                port = self._server.add_insecure_port(self._settings.listen)
            else:
                problem += (
                    ", or its certificate has a key that gRPC cannot use (RSA, P-256 and P-384 "
                    "work)"
                )
                credentials = server_credentials(self._certificates)
                port = self._server.add_secure_port(self._settings.listen, credentials)
        except RuntimeError:  # its text has the errno of each address tried
            raise PortInUse(problem) from None
        await self._server.start()
        await self.set_serving(serving=True)
        return port

    async def set_serving(self, *, serving: bool) -> None:
        """Tell callers who watch the server's health."""
        await self._health.set_serving(serving=serving)

    async def stop(self) -> None:
        """Say NOT_SERVING, wait for callers to turn away, then end what still runs.

        grpcio answers calls that wait in its queue with CANCELLED when it stops,
        so a planned stop first lets the callers leave (reliability.md F11).
        """
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(self._settings.lame_duck_s)
        await self._server.stop(self._settings.stop_grace_s)


def _tells_no_metadata(record: logging.LogRecord) -> bool:
    # grpcio writes metadata that is not UTF-8 into the log, as an error, whoever sends
    # it: it may be a token with a slip in it.
    return not str(record.msg).startswith("Invalid encoding on")


def _within_descriptors(options: ChannelOptions) -> ChannelOptions:
    """With no more connections than half of the files that this process may open.

    The rest is for the database, for WeChat, and for reading who may still call.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return options
    connections = "grpc.max_allowed_incoming_connections"
    return tuple(
        (name, min(value, soft // 2) if name == connections else value) for name, value in options
    )
