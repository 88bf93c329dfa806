"""An installation that a test makes, what `wxauth doctor` finds there, and its cures."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from tests.canary import CANARY
from tests.unit.configured import SECRET, app
from wxauth_server.clock import Clock, SystemClock
from wxauth_server.config import load_configuration
from wxauth_server.doctor.examination import examine
from wxauth_server.doctor.findings import Check, Finding, Status
from wxauth_server.keyring import create_keyring
from wxauth_server.store.sqlite import SQLiteStore

#: Where make_installation puts the data.
DATA = Path(".wxauth")
CANARY.keep(SECRET)


class Report:
    """The findings."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        for finding in findings:
            CANARY.hear("doctor", f"{finding.what} {finding.what_to_do}")
            assert finding.what
            if finding.status in {Status.PROBLEM, Status.WARNING}:
                assert finding.what_to_do, finding

    def of(self, check: Check) -> list[Finding]:
        return [finding for finding in self.findings if finding.check is check]

    def only(self, check: Check) -> Finding:
        """The one finding of a check."""
        [finding] = self.of(check)
        return finding

    def statuses(self, check: Check) -> set[Status]:
        return {finding.status for finding in self.of(check)}


def examined(
    text: str | None = None,
    *,
    clock: Clock | None = None,
    offline: bool = True,
    **flags: object,
) -> Report:
    """What is found with a configuration of this text; with one app where it is None."""
    file = Path("given.toml")
    file.touch(0o600)
    file.write_text(app() if text is None else text, "utf-8")
    return Report(
        examine(lambda: load_configuration(file, **flags), clock or SystemClock(), offline=offline)
    )


def make_installation() -> None:
    """A key ring and an empty database in DATA, as after the first start."""
    create_keyring(DATA / "keyring.json")
    SQLiteStore(DATA).close()


def refused(report: Report, check: Check, *parts: str, status: Status = Status.PROBLEM) -> Finding:
    """The finding of that status, which says these parts."""
    found = [finding for finding in report.of(check) if finding.status is status]
    assert len(found) == 1, report.of(check)
    [finding] = found
    for part in parts:
        assert part in finding.what, finding
    return finding


def do(finding: Finding) -> None:
    """What a finding says to do, where that begins with a command of the shell."""
    command = finding.what_to_do.split(",")[0].split(";")[0]
    assert command.startswith(("chmod ", "chown ")), command
    subprocess.run(shlex.split(command), check=True)
