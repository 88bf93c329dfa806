"""`wxauth doctor` as an operator runs it."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.command_data import make_data
from tests.sandbox_server import RunningSandbox
from tests.unit.configured import app
from tests.wxauth_command import done_well, wxauth
from wxauth_server.doctor.findings import Check


def found(
    *arguments: str, cwd: Path, status: int = 0, variables: dict[str, str] | None = None
) -> dict[str, dict[str, str]]:
    """The findings by their checks, of a run with --json."""
    done = wxauth("doctor", "--json", *arguments, cwd=cwd, variables=variables)
    assert (done.returncode, done.stderr) == (status, ""), done
    report = json.loads(done.stdout)
    assert report["ok"] is (status == 0)
    for finding in report["findings"]:
        assert list(finding) == ["check", "status", "what", "what_to_do"]
        assert finding["check"] in list(Check)
        assert finding["status"] in {"ok", "warning", "problem", "skipped"}
    return {finding["check"]: finding for finding in report["findings"]}


def state(directory: Path) -> dict[str, Any]:
    """Every file, with all that a change would change."""
    return {
        str(path): (
            path.stat().st_mode,
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in [directory, *directory.rglob("*")]
    }


def test_without_a_server_nothing_changes(data: Path) -> None:
    before = state(data)
    checks = found("--offline", cwd=data)
    assert checks["database.content"]["status"] == "ok"
    assert checks["keyring.needed"]["status"] == "ok"
    assert checks["wechat.app"]["status"] == "skipped"
    assert state(data) == before


def test_in_an_empty_directory_nothing_is_made(tmp_path: Path) -> None:
    found("--offline", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_beside_a_server(served: tuple[Path, str], sandbox: RunningSandbox) -> None:
    directory, address = served
    files = sorted(path.name for path in (directory / ".wxauth").iterdir())
    variables = {
        "WXAUTH_GATEWAY__SERVER": address,
        "WXAUTH_WECHAT__BASE_URL": sandbox.base_url,
    }

    checks = found(cwd=directory, variables=variables)

    assert "a server runs on it" in checks["database.server"]["what"]
    for check in ("database.content", "server.connection", "wechat.app", "clock.wechat"):
        assert checks[check]["status"] == "ok", checks[check]
    assert sorted(path.name for path in (directory / ".wxauth").iterdir()) == files


def test_a_problem_is_said_and_what_it_says_mends_it(data: Path) -> None:
    (data / ".wxauth" / "keyring.json").chmod(0o644)
    checks = found("--offline", cwd=data, status=1)
    assert checks["database.content"]["status"] == "ok", "the others are made all the same"

    done = wxauth("doctor", "--offline", cwd=data)
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    [number] = [number for number, line in enumerate(lines) if "✗" in line]
    assert "keyring.json can be read by others (mode 0644)" in lines[number]
    assert lines[-1].startswith("1 problem, ")
    command = lines[number + 1].strip().removeprefix("→ ").partition(";")[0]
    subprocess.run(shlex.split(command), cwd=data, check=True)

    said = done_well(wxauth("doctor", "--offline", cwd=data))
    assert said.splitlines()[-1].startswith("no problems, ")


@pytest.mark.parametrize("arguments", [("--nonsense",), ("extra",)])
def test_wrong_usage(arguments: tuple[str, ...], data: Path) -> None:
    done = wxauth("doctor", *arguments, cwd=data)
    assert done.returncode == 2
    assert done.stdout == ""


def test_a_configuration_that_cannot_be_used(data: Path) -> None:
    (data / "wxauth.toml").write_text('[grpc]\nlisten = "0.0.0.0:50051"\n')
    checks = found("--offline", cwd=data, status=1)
    assert "needs TLS" in checks["configuration.file"]["what"]
    assert checks["database.file"]["status"] == "skipped"
    checks = found("--config", "none.toml", cwd=data, status=1)
    assert "none.toml" in checks["configuration.file"]["what"]


def test_what_to_do_is_for_what_was_looked_at(tmp_path: Path) -> None:
    """Without the options it would be done elsewhere."""
    configuration = tmp_path / "a file.toml"
    configuration.touch(0o600)
    configuration.write_text(app())
    options = ("--config", configuration.name, "--data", "new")
    what_to_do = found("--offline", *options, cwd=tmp_path, status=1)["keyring.file"]["what_to_do"]
    assert what_to_do == "wxauth keys init --config 'a file.toml' --data new"

    done_well(wxauth(*shlex.split(what_to_do)[1:], cwd=tmp_path))
    assert found("--offline", *options, cwd=tmp_path)["keyring.file"]["status"] == "ok"


def test_another_data_directory(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    make_data(elsewhere)
    here = found("--offline", "--data", "elsewhere/.wxauth", cwd=tmp_path)
    assert here["database.file"]["what"] == "elsewhere/.wxauth/wxauth.db can be opened"
