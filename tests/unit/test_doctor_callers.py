"""wxauth doctor: the callers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.running_server import FakeClock
from tests.unit.configured import app, nothing_set
from tests.unit.examined import DATA, Report, examined, refused
from wxauth_server.callers.caller import Caller, CallerBook, CallerToken, Role
from wxauth_server.callers.callers_file import changing_callers
from wxauth_server.doctor.findings import Check, Status

__all__ = ["nothing_set"]

NOW_MS = 1_790_000_000_000
DAY_MS = 86_400_000
FILE = DATA / "callers.json"
REQUIRED = app() + "[grpc]\nrequire_callers = true\n"


def caller(
    name: str, *roles: Role, ends: Iterable[int | None] = (None,), names: Iterable[str] = ()
) -> Caller:
    """With one token for each end, in days from now."""
    tokens = tuple(
        CallerToken(f"{number:02}{name.encode().hex()}".ljust(64, "0"), NOW_MS, end)
        for number, end in enumerate(
            None if days is None else NOW_MS + days * DAY_MS for days in ends
        )
    )
    return Caller(name, frozenset(roles), NOW_MS, () if names else tokens, tuple(names))


def with_callers(*callers: Caller, text: str = REQUIRED) -> Report:
    with changing_callers(FILE) as file:
        file.replace(CallerBook(callers))
    return examined(text, clock=FakeClock(NOW_MS))


@pytest.fixture(autouse=True)
def directory(nothing_set: Path) -> None:
    DATA.mkdir(0o700)


GATEWAY = caller("gateway", Role.GATEWAY)


def test_callers_in_order() -> None:
    report = with_callers(caller("all", *Role))
    for check in Check:
        if check.value.startswith("callers."):
            assert report.only(check).status is Status.OK, check
            assert report.only(check).what_to_do == "", check


def test_no_callers() -> None:
    assert examined().only(Check.CALLERS_FILE).status is Status.SKIPPED
    finding = refused(examined(REQUIRED), Check.CALLERS_FILE, f"{FILE} does not exist")
    assert finding.what_to_do.startswith("wxauth callers add gateway --role gateway")
    refused(with_callers(), Check.CALLERS_FILE, f"{FILE} names no caller")
    assert with_callers(GATEWAY).only(Check.CALLERS_FILE).status is Status.OK


def test_a_file_that_cannot_be_used() -> None:
    with_callers(GATEWAY)
    FILE.chmod(0o666)
    refused(examined(REQUIRED), Check.CALLERS_FILE, "can be written by others")
    FILE.chmod(0o600)
    FILE.write_text("[]")
    report = examined(REQUIRED)
    refused(report, Check.CALLERS_FILE, "callers.json")
    assert report.only(Check.CALLERS_ROLES).status is Status.SKIPPED


@pytest.mark.parametrize(
    ("roles", "status", "missing"),
    [
        ([Role.SERVICE], Status.WARNING, "--role gateway"),
        ([Role.GATEWAY], Status.OK, "--role service"),
        ([Role.GATEWAY, Role.SERVICE], Status.OK, "--role admin"),
    ],
)
def test_a_role_that_nobody_has(roles: list[Role], status: Status, missing: str) -> None:
    report = with_callers(caller("one", *roles))
    assert missing in refused(report, Check.CALLERS_ROLES, status=status).what_to_do


def test_on_loopback_nobody_needs_a_role() -> None:
    report = with_callers(caller("one", Role.SERVICE), text=app())
    assert report.only(Check.CALLERS_ROLES).status is Status.OK


@pytest.mark.parametrize(
    ("ends", "status", "says"),
    [
        ([-1], Status.PROBLEM, "no token that is good"),
        ([6], Status.WARNING, "the last token of gateway ends"),
        ([2, 6], Status.WARNING, "the last token of gateway ends"),
        ([6, None], Status.WARNING, "a former token of gateway ends"),
        ([6, 90], Status.WARNING, "a former token of gateway ends"),
        ([-1, None], Status.OK, "every caller"),
        ([8], Status.OK, "every caller"),
    ],
)
def test_tokens(ends: list[int | None], status: Status, says: str) -> None:
    report = with_callers(caller("gateway", Role.GATEWAY, ends=ends))
    finding = refused(report, Check.CALLERS_TOKENS, says, status=status)
    if "a former" not in says and status is not Status.OK:
        assert finding.what_to_do.startswith("wxauth callers rotate gateway")


def test_certificates_that_nobody_asks_for() -> None:
    proved = caller("gateway", Role.GATEWAY, names=["gateway.internal"])
    finding = refused(with_callers(proved), Check.CALLERS_CERTIFICATES, "gateway:")
    assert "grpc.tls.client_ca_file" in finding.what_to_do

    authority = Authority(Path())
    issued = authority.issue("wxauth")
    tls = (
        f'[grpc.tls]\ncertificate_file = "{issued.certificate}"\nkey_file = "{issued.key}"\n'
        f'client_ca_file = "{authority.ca}"\n'
    )
    mended = with_callers(proved, text=REQUIRED + tls)
    assert mended.only(Check.CALLERS_CERTIFICATES).status is Status.OK
    assert mended.only(Check.CALLERS_CERTIFICATES).what_to_do == ""
    tokens_only = with_callers(GATEWAY, text=REQUIRED + tls).only(Check.CALLERS_CERTIFICATES)
    assert tokens_only.status is Status.OK
    assert "--certificate-name" in tokens_only.what_to_do
