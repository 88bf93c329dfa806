"""`wxauth callers` beside a server that runs, and as the page about it shows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.canary import CANARY
from tests.command_data import ANY_PORT, CHEAP
from tests.e2e.test_docs import DOCS, Stack, commands_of, run_in_one_shell, same
from tests.running_server import refused as refusal
from tests.wxauth_command import listed, ready, running, wxauth
from wxauth.v1.admin_service_pb2 import ListAccountsRequest
from wxauth.v1.admin_service_pb2_grpc import AdminServiceStub
from wxauth.v1.auth_service_pb2 import LogoutRequest, ValidateSessionRequest
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub

#: Far longer than a server needs to follow: a second.
FOLLOWS_S = 10.0
UNKNOWN, FORBIDDEN, LET_IN = "CALLER_UNAUTHENTICATED", "CALLER_FORBIDDEN", "SESSION_INVALID"


class Served:
    """A server that requires callers, and the commands on its data directory."""

    def __init__(self, cwd: Path, channel: grpc.Channel) -> None:
        self._cwd = cwd
        self._channel = channel
        self._files = 0

    def callers(self, *arguments: str) -> None:
        done = wxauth("callers", *arguments, cwd=self._cwd)
        assert (done.returncode, done.stdout) == (0, "")

    def names(self) -> list[str]:
        return [row["name"] for row in listed("callers", "list", cwd=self._cwd)]

    def token(self, *arguments: str) -> str:
        """What a command writes with --output."""
        self._files += 1
        file = self._cwd / f"{self._files}.token"
        self.callers(*arguments, "--output", file.name)
        return CANARY.keep(file.read_text().strip())

    def validates(self, token: str) -> str:
        """The reason why not: the session is none in any case."""
        return refusal(
            AuthServiceStub(self._channel).ValidateSession,
            ValidateSessionRequest(session_id="wxs_none"),
            timeout=10,
            metadata=_proof(token),
        ).reason

    def logs_out(self, token: str) -> str:
        return refusal(
            AuthServiceStub(self._channel).Logout,
            LogoutRequest(session_id="wxs_none"),
            timeout=10,
            metadata=_proof(token),
        ).reason

    def administers(self, token: str) -> None:
        AdminServiceStub(self._channel).ListAccounts(
            ListAccountsRequest(), timeout=10, metadata=_proof(token)
        )

    def soon_validates(self, token: str, reason: str) -> None:
        """Whether it does within the time that a server has to follow."""
        deadline = time.monotonic() + FOLLOWS_S
        while (answer := self.validates(token)) != reason:
            assert time.monotonic() < deadline, f"still {answer}"
            time.sleep(0.02)


def _proof(token: str) -> tuple[tuple[str, str]]:
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Each test has callers with names of its own."""
    cwd = tmp_path_factory.mktemp("served")
    (cwd / "wxauth.toml").write_text("[grpc]\nlame_duck_s = 0\nrequire_callers = true\n")
    assert wxauth("callers", "add", "gateway", "--role", "gateway", cwd=cwd).returncode == 0
    with running("serve", "--grpc", ANY_PORT, cwd=cwd, variables=CHEAP) as server:
        with grpc.insecure_channel(ready(server)) as channel:
            yield Served(cwd, channel)
        assert server.stop() == 0
        assert "Traceback" not in server.said()


def test_a_server_that_runs_follows_each_change(served: Served) -> None:
    first = served.token("add", "orders", "--role", "service")
    served.soon_validates(first, LET_IN)
    assert served.logs_out(first) == FORBIDDEN
    assert served.validates("wxc_" + "x" * 43) == UNKNOWN

    second = served.token("rotate", "orders")
    served.soon_validates(second, LET_IN)
    assert served.validates(first) == LET_IN

    third = served.token("rotate", "orders", "--old-good-for", "0")
    served.soon_validates(third, LET_IN)
    assert (served.validates(first), served.validates(second)) == (UNKNOWN, UNKNOWN)

    served.callers("set-roles", "orders", "--role", "admin")
    served.soon_validates(third, FORBIDDEN)
    served.administers(third)

    served.callers("revoke", "orders")
    served.soon_validates(third, UNKNOWN)


def test_an_old_token_ends_by_itself(served: Served) -> None:
    first = served.token("add", "shop", "--role", "service")
    served.soon_validates(first, LET_IN)
    second = served.token("rotate", "shop", "--old-good-for", "1s")
    served.soon_validates(second, LET_IN)
    served.soon_validates(first, UNKNOWN)
    assert served.validates(second) == LET_IN


def test_the_last_caller_can_be_revoked(served: Served) -> None:
    last = served.token("add", "last", "--role", "service")
    served.soon_validates(last, LET_IN)
    for name in served.names():
        served.callers("revoke", name)
    served.soon_validates(last, UNKNOWN)


def test_the_page_shows_what_the_commands_print(tmp_path: Path) -> None:
    steps = commands_of(DOCS / "callers.md", "callers")
    assert len(steps) == 3
    (tmp_path / "trial").mkdir()
    # In a directory of its own, and with what is said on standard error.
    begin = f"cd {tmp_path / 'trial'}; exec 2>&1\n"
    nowhere = Stack(sandbox="", grpc="", gateway="", database=tmp_path)

    shown = [begin + steps[0][0], *(commands for commands, _ in steps[1:])]
    printed = run_in_one_shell(shown, nowhere, tmp_path)

    for (commands, expected), actual in zip(steps, printed, strict=True):
        assert same(expected, actual), f"after {commands}it was\n{actual}"
