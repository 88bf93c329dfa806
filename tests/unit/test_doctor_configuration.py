"""wxauth doctor: the configuration, its secrets and the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.configured import APP, OTHER, SECRET, app, nothing_set
from tests.unit.examined import Report, do, examined, refused
from wxauth_server.clock import SystemClock
from wxauth_server.config import load_configuration
from wxauth_server.doctor import examination
from wxauth_server.doctor.examination import examine
from wxauth_server.doctor.findings import Check, Finding, Installation, Status
from wxauth_server.transport_security import DEBUGGING

__all__ = ["nothing_set"]


def test_a_configuration_in_order() -> None:
    report = examined()
    assert report.only(Check.CONFIGURATION_FILE).what == "given.toml can be used"
    assert report.only(Check.CONFIGURATION_APPS).what == f"{APP} is configured"
    for check in (Check.CONFIGURATION_SECRETS, Check.CONFIGURATION_ENVIRONMENT):
        assert report.only(check).status is Status.OK


def test_each_key_that_is_wrong_is_a_finding_and_the_rest_is_skipped() -> None:
    report = examined('[grpc]\nlisen = "x"\n[audit]\nkeep_days = -1\n')
    told = [finding.what for finding in report.of(Check.CONFIGURATION_FILE)]
    assert [what.partition(":")[0] for what in told] == ["grpc.lisen", "audit.keep_days"]
    assert report.statuses(Check.CONFIGURATION_FILE) == {Status.PROBLEM}
    others = [one for one in report.findings if one.check is not Check.CONFIGURATION_FILE]
    assert {one.status for one in others} == {Status.SKIPPED}
    assert {one.check.value.partition(".")[0] for one in others} >= {"database", "wechat"}


def test_a_file_that_is_not_there() -> None:
    findings = examine(lambda: load_configuration(Path("none.toml")), SystemClock())
    refused(Report(findings), Check.CONFIGURATION_FILE, "none.toml", "No such file")


def test_no_file_is_the_development_setting() -> None:
    report = Report(examine(load_configuration, SystemClock(), offline=True))
    assert "no file is read" in report.only(Check.CONFIGURATION_FILE).what
    refused(report, Check.CONFIGURATION_APPS, "no mini-program", status=Status.WARNING)
    assert not [one for one in report.findings if one.status is Status.PROBLEM]


def test_an_app_secret_that_cannot_be_read() -> None:
    text = app(OTHER, 'app_secret_file = "other.secret"') + app()
    told = refused(examined(text), Check.CONFIGURATION_APPS, OTHER, "other.secret")
    assert "into that file" in told.what_to_do

    Path("other.secret").touch(0o600)
    Path("other.secret").write_text(SECRET)
    report = examined(text)
    assert [one.what for one in report.of(Check.CONFIGURATION_APPS)] == [
        f"{OTHER} is configured",
        f"{APP} is configured",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("given.toml", app()),
        ("a.secret", app(more='app_secret_file = "a.secret"')),
        ("given.toml", '[gateway.credentials]\ntoken = "wxc_' + "a" * 43 + '"\n'),
    ],
)
def test_a_file_with_a_secret_that_others_can_read(name: str, text: str) -> None:
    file = Path(name)
    file.write_text(SECRET)
    file.chmod(0o640)

    told = refused(examined(text), Check.CONFIGURATION_SECRETS, name, "0640", status=Status.WARNING)

    do(told)
    assert examined(text).only(Check.CONFIGURATION_SECRETS).status is Status.OK


@pytest.mark.parametrize("variable", DEBUGGING)
def test_a_debugging_variable(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "1")
    check = Check.CONFIGURATION_ENVIRONMENT
    told = refused(examined(), check, variable, status=Status.WARNING)
    off_loopback = app() + '[gateway]\nlisten = "0.0.0.0:8080"\nplain_http = true\n'
    refused(examined(off_loopback), check, variable)
    assert told.what_to_do.startswith(f"unset {variable}")
    monkeypatch.setenv(variable, "")
    assert examined().only(Check.CONFIGURATION_ENVIRONMENT).status is Status.OK


def test_a_check_that_fails_by_itself_keeps_none_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: Installation) -> list[Finding]:
        raise ZeroDivisionError(SECRET)

    broken = examination._Subject(Check.DATABASE_FILE, fail)  # type: ignore[arg-type]
    subjects = (examination._SUBJECTS[0], broken, examination._SUBJECTS[1])
    monkeypatch.setattr(examination, "_SUBJECTS", subjects)
    report = examined()
    refused(report, Check.DATABASE_FILE, "ZeroDivisionError")
    assert report.of(Check.KEYRING_FILE)
    assert report.of(Check.CONFIGURATION_FILE)
