"""Which events the options of `wxauth audit` choose. In this process: there are many of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner

from tests.e2e.audit_log import APP, audit_log
from wxauth_server.cli.audit import app

Exported = Callable[..., str]


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("WXAUTH_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """What an export says with these arguments."""
    with audit_log(tmp_path_factory.mktemp("audit")) as log:
        log.fill()

        def export(*arguments: str) -> str:
            data = log.cwd / ".wxauth"
            done = CliRunner().invoke(app, ["export", "--data", str(data), *arguments])
            assert done.exit_code == 0, done.exception
            return done.stdout

        yield export


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), [1, 2, 3, 4]),
        (("--since", "2026-09-22"), [2, 3, 4]),
        (("--since", "2026-09-22T14:14:00Z"), [2, 3, 4]),
        (("--since", "2026-09-22T14:14:00.001Z"), [3, 4]),
        (("--since", "2026-09-22T22:14+08:00"), [2, 3, 4]),
        (("--until", "2026-09-22T14:14:00Z"), [1]),
        (("--since", "9999d"), [1, 2, 3, 4]),
        (("--until", "9999d"), []),
        (("--event", "LOGIN"), [1, 4]),
        (("--event", "login", "--event", "LOGIN_REFUSED"), [1, 2, 4]),
        (("--account", "zhangsan"), [1]),
        (("--account", "ＺＨＡＮＧＳＡＮ"), [1]),
        (("--account-id", "10001"), [1]),
        (("--account-id", "10001", "--source", "crm"), [4]),
        (("--account-id", "10002"), []),
        (("--app", APP), [1, 2]),
        (("--app", APP, "--openid", "oOne"), [1, 2]),
        (("--app", "wxother", "--openid", "oOne"), []),
        (("--caller", "ops-laptop"), [3]),
        (("--caller", "ops"), []),
        (("--after-id", "2"), [3, 4]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_an_export_has_what_was_asked_for(
    exported: Exported, arguments: tuple[str, ...], expected: list[int]
) -> None:
    assert [json.loads(line)["id"] for line in exported(*arguments).splitlines()] == expected


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--since", "yesterday"), "is no time"),
        (("--since", "2026-13-01"), "is no time"),
        (("--since", "999999d"), "is no time"),
        (("--until", "7w"), "is no time"),
        (("--since", "99999999999999999999d"), "is no time"),
        (
            ("--event", "LOGON"),
            "Invalid value: there is no event 'LOGON': they are LOGIN, LOGIN_REF",
        ),
        (("--event", ""), "there is no event ''"),
        (("--account", "a", "--account-id", "1"), "give one of"),
        (("--account", "a", "--source", "crm"), "needs --account-id"),
        (("--openid", "oOne"), "needs --app"),
        (("--caller", ""), "--caller"),
        (("--after-id", "-1"), "--after-id"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_usage_is_explained(arguments: tuple[str, ...], part: str) -> None:
    done = CliRunner().invoke(app, ["export", *arguments], env={"COLUMNS": "200"})
    assert (done.exit_code, done.stdout) == (2, "")
    assert part in done.stderr
