"""docs/doctor.md lists the checks that there are, and each of them is made."""

from __future__ import annotations

import re
from pathlib import Path

from tests.certificates import Authority
from tests.unit.configured import app, nothing_set
from tests.unit.examined import DATA, examined, make_installation
from wxauth_server.callers.caller import Caller, CallerBook, Role
from wxauth_server.callers.callers_file import changing_callers
from wxauth_server.cli.doctor import _TITLES
from wxauth_server.doctor import clock, database, findings
from wxauth_server.doctor.callers import TOKEN_ENDS_SOON_MS
from wxauth_server.doctor.certificates import SOON, VERY_SOON
from wxauth_server.doctor.findings import Check

__all__ = ["nothing_set"]

#: Not of the embedded database.
ONLY_POSTGRESQL = {
    Check.DATABASE_CONNECTION,
    Check.DATABASE_TLS,
    Check.DATABASE_VERSION,
    Check.DATABASE_RECOVERY,
    Check.DATABASE_DURABILITY,
    Check.DATABASE_ENCODING,
    Check.DATABASE_CONNECTIONS,
    Check.DATABASE_PRIVILEGES,
}

PAGE = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text("utf-8")


def test_every_check_is_explained() -> None:
    told = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| .+ \| .+ \|$", PAGE, re.MULTILINE)
    assert told == list(Check)


def test_every_check_has_a_title() -> None:
    assert list(_TITLES) == list(dict.fromkeys(check.value.partition(".")[0] for check in Check))


def test_every_check_is_made() -> None:
    authority = Authority(Path())
    issued = authority.issue("wxauth")
    files = f'certificate_file = "{issued.certificate}"\nkey_file = "{issued.key}"\n'
    make_installation()
    with changing_callers(DATA / "callers.json") as file:
        file.replace(CallerBook([Caller("one", frozenset(Role), 1)]))

    report = examined(
        f"{app()}[grpc.tls]\n{files}[gateway.tls]\n{files}[gateway.credentials]\n{files}"
        f'ca_file = "{authority.ca}"\n[wechat]\nbase_url = "http://127.0.0.1:9"\n',
        offline=False,
    )

    # tests/contract/test_doctor_postgresql.py makes the others.
    assert {finding.check for finding in report.findings} == set(Check) - ONLY_POSTGRESQL
    assert [finding.check for finding in report.findings] == sorted(
        (finding.check for finding in report.findings), key=list(Check).index
    )


def test_the_limits_are_those_of_the_code() -> None:
    told = {
        name: float(number) for number, name in re.findall(r"\| ([\d.]+) [^|]*\| `(\w+)`", PAGE)
    }
    assert told == {
        "MOST_OFF_S": clock.MOST_OFF_S,
        "NOTABLY_OFF_S": clock.NOTABLY_OFF_S,
        "SOON": SOON.days,
        "VERY_SOON": VERY_SOON.days,
        "TOKEN_ENDS_SOON_MS": TOKEN_ENDS_SOON_MS / 86_400_000,
        "LEAST_FREE_BYTES": database.LEAST_FREE_BYTES / 1024**3,
        "LEAST_FREE_SHARE": database.LEAST_FREE_SHARE * 100,
        "MOST_WAL_BYTES": database.MOST_WAL_BYTES / 1024**2,
        "CONTENT_CHECK_S": database.CONTENT_CHECK_S,
        "TIMEOUT_S": findings.TIMEOUT_S,
    }
