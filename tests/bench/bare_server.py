"""A grpc.aio server that does nothing: what a request costs before ours does anything.

`python -m tests.bench.bare_server [CERTIFICATE KEY [CLIENT_CA]]` prints its port
and ends with its standard input. It has our channel options and event loop, and
answers ValidateSession with one complete message that was built once: the strictest
comparison there is, since it neither looks anything up nor builds an answer.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
import uvloop
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from wxauth.v1.auth_service_pb2 import (
    Account,
    ValidateSessionRequest,
    ValidateSessionResponse,
)
from wxauth.v1.auth_service_pb2_grpc import (
    AuthServiceServicer,
    add_AuthServiceServicer_to_server,
)
from wxauth_server.config import DEMO_APP_ID
from wxauth_server.rpc.server import CHANNEL_OPTIONS, MAX_CONCURRENT_RPCS

#: As long as the answers of the seeded store.
_ANSWER = ValidateSessionResponse(
    account=Account(
        source="local", id="id-user12345", username="user12345", display_name="User12345"
    ),
    app_id=DEMO_APP_ID,
    openid="o" + "x" * 27,
    unionid="o" + "u" * 27,
    session_handle="h" * 22,
    login_time=Timestamp(seconds=1_790_000_000, nanos=123_000_000),
    idle_expire_time=Timestamp(seconds=1_790_604_800, nanos=123_000_000),
    absolute_expire_time=Timestamp(seconds=1_792_592_000, nanos=123_000_000),
    reuse_for=Duration(seconds=300),
)


class BareServicer(AuthServiceServicer):
    """Answers everybody with the same message."""

    async def ValidateSession(  # noqa: N802 - the contract's name
        self,
        request: ValidateSessionRequest,
        context: grpc.aio.ServicerContext[ValidateSessionRequest, ValidateSessionResponse],
    ) -> ValidateSessionResponse:
        return _ANSWER


def _credentials(
    certificate: str, key: str, client_ca: str | None = None
) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(Path(key).read_bytes(), Path(certificate).read_bytes())],
        None if client_ca is None else Path(client_ca).read_bytes(),
        client_ca is not None,
    )


async def serve(servicer: AuthServiceServicer, files: Sequence[str]) -> None:
    """Serve until standard input ends; TLS with these files, if there are any."""
    server = grpc.aio.server(options=CHANNEL_OPTIONS, maximum_concurrent_rpcs=MAX_CONCURRENT_RPCS)
    add_AuthServiceServicer_to_server(servicer, server)
    if files:
        port = server.add_secure_port("127.0.0.1:0", _credentials(*files))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    await server.stop(1)


if __name__ == "__main__":
    uvloop.run(serve(BareServicer(), sys.argv[1:]))  # type: ignore[abstract]  # as generated
