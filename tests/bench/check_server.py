"""What it costs to know a caller, on a real call: no transport, no session, only the check.

`python -m tests.bench.check_server STORE [CERTIFICATE KEY [CLIENT_CA]]` prints its
port, checks the caller of ValidateSession many times over at each call, and when its
standard input ends prints the microseconds of one check: the median of its batches.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import grpc
import uvloop

from tests.bench.bare_server import BareServicer, serve
from wxauth.v1.auth_service_pb2 import ValidateSessionRequest, ValidateSessionResponse
from wxauth_client.file_watch import FileWatch
from wxauth_server.admin_token import server_token
from wxauth_server.callers.callers_file import FILE_NAME, load_callers
from wxauth_server.clock import SystemClock
from wxauth_server.rpc.callers import ROLES, Callers

_ROLES = ROLES["/wxauth.v1.AuthService/ValidateSession"]
_BATCHES, _CHECKS = 25, 2_000


class CheckingServicer(BareServicer):
    """Answers once it has checked its caller often enough to time that."""

    def __init__(self, store: Path) -> None:
        path = store / FILE_NAME
        self._callers = Callers(
            server_token(store),
            FileWatch("callers", [path], lambda: load_callers(path)),
            SystemClock(),
            required=True,
        )
        self.batches_us: list[float] = []

    async def ValidateSession(  # noqa: N802 - the contract's name
        self,
        request: ValidateSessionRequest,
        context: grpc.aio.ServicerContext[ValidateSessionRequest, ValidateSessionResponse],
    ) -> ValidateSessionResponse:
        for _ in range(_BATCHES):
            began = time.thread_time()
            for _ in range(_CHECKS):
                self._callers.check(_ROLES, context)
            self.batches_us.append((time.thread_time() - began) / _CHECKS * 1e6)
        return await super().ValidateSession(request, context)


def main() -> None:
    servicer = CheckingServicer(Path(sys.argv[1]))  # type: ignore[abstract]  # as generated
    uvloop.run(serve(servicer, sys.argv[2:]))
    print(statistics.median(servicer.batches_us))


if __name__ == "__main__":
    main()
