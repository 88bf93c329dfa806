"""`wxauth serve` and the other parts, one process each."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
from pathlib import Path

import pytest
import requests

from tests.command_data import ANY_PORT
from tests.wxauth_command import done_well, ready, refused, running, wxauth


def test_serving_without_any_configuration(tmp_path: Path) -> None:
    with running("serve", "--grpc", ANY_PORT, cwd=tmp_path) as server:
        host, port = ready(server).split(":")
        socket.create_connection((host, int(port))).close()
        assert "development setting" in server.said()
        line = json.loads(server.wait_for('"event": "ready"'))
        told = (line["transport"], line["callers_required"], line["callers"])
        assert told == ("plaintext", False, 0)
        made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
        assert server.stop(signal.SIGTERM) == 0
        assert "Traceback" not in server.said()

    assert made.pop(".wxauth") == 0o700
    assert {"keyring.json", "wxauth.db"} <= set(made)
    assert set(made.values()) == {0o600}


def test_a_second_server_on_a_data_directory_is_refused(data: Path) -> None:
    serve = ("serve", "--grpc", ANY_PORT)
    every_port = [word for part in ("sandbox", "grpc", "http") for word in (f"--{part}", ANY_PORT)]
    said = (".wxauth", "another wxauth serve or wxauth dev", "one server for a data directory")
    with running(*serve, cwd=data) as first:
        host, port = ready(first).split(":")
        refused(wxauth(*serve, "--data", data / ".wxauth", cwd=data), *said)
        refused(wxauth("dev", *every_port, cwd=data), *said)
        socket.create_connection((host, int(port))).close()
        assert stat.S_IMODE((data / ".wxauth" / "server.lock").stat().st_mode) == 0o600
        # Another directory is another matter.
        with running(*serve, "--data", "other", cwd=data) as other:
            ready(other)
        done_well(wxauth("accounts", "disable", "zhangsan", cwd=data))
        first.send(signal.SIGKILL)
        first.wait()
    # The lock has ended with its process, and so it does with a graceful stop.
    with running("dev", *every_port, cwd=data) as second:
        second.wait_for("Ctrl-C stops everything.")
        refused(wxauth(*serve, cwd=data), *said)
        assert second.stop() == 0
    with running(*serve, cwd=data) as third:
        ready(third)


def test_a_lock_that_cannot_be_taken_is_named(data: Path) -> None:
    (data / ".wxauth" / "server.lock").mkdir()
    refused(wxauth("serve", "--grpc", ANY_PORT, cwd=data), "server.lock is not writable")


def test_a_second_signal_ends_the_server_at_once(tmp_path: Path) -> None:
    variables = {"WXAUTH_GRPC__LAME_DUCK_S": "60"}
    with running("serve", "--grpc", ANY_PORT, cwd=tmp_path, variables=variables) as server:
        ready(server)
        server.send(signal.SIGINT)
        server.wait_for("stopping")
        server.send(signal.SIGINT)
        assert server.wait() == 128 + signal.SIGINT
        assert "Traceback" not in server.said()


@pytest.mark.parametrize(
    ("command", "option"), [("serve", "--grpc"), ("gateway", "--http"), ("sandbox", "--listen")]
)
def test_a_port_in_use(tmp_path: Path, command: str, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = f"127.0.0.1:{taken.getsockname()[1]}"
        refused(wxauth(command, option, busy, cwd=tmp_path), busy)


def test_apps_need_a_ring_that_was_made_on_purpose(tmp_path: Path) -> None:
    (tmp_path / "wxauth.toml").write_text(
        "[[apps]]\napp_id = 'wx0123456789abcdef'\napp_secret = 'made up for a test'"
    )
    refused(wxauth("serve", "--grpc", ANY_PORT, cwd=tmp_path), "run wxauth keys init")
    assert [path.name for path in tmp_path.iterdir()] == ["wxauth.toml"]


def test_a_data_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for command in (("serve", "--grpc", ANY_PORT), ("keys", "init")):
        refused(wxauth(*command, "--data", "file/sub", cwd=tmp_path), "file/sub")
    refused(wxauth("accounts", "list", "--data", "file/sub", cwd=tmp_path), "file/sub")
    assert (tmp_path / "file").read_text() == ""


def test_a_data_directory_that_is_not_ours_to_write(data: Path) -> None:
    prefix: list[str] = []
    if os.geteuid() == 0:  # to whom nothing is forbidden, but for what is given up
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("as root this needs setpriv: install util-linux")
        prefix = [setpriv, "--bounding-set=-dac_override,-dac_read_search"]
    directory = data / ".wxauth"
    directory.chmod(0o500)
    try:
        for command in (("serve", "--grpc", ANY_PORT), ("accounts", "list")):
            refused(wxauth(*command, cwd=data, prefix=prefix), "not writable")
    finally:
        directory.chmod(0o700)


def test_the_sandbox_plays_for_the_apps_it_is_given(tmp_path: Path) -> None:
    arguments = ("--listen", ANY_PORT, "--app", "wx1:one", "--app", "wx2:two:2")
    with running("sandbox", *arguments, cwd=tmp_path) as sandbox:
        base = "http://" + ready(sandbox)
        for app_id, secret in (("wx1", "one"), ("wx2", "two:2")):
            query = {"appid": app_id, "secret": secret, "js_code": "x"}
            query["grant_type"] = "authorization_code"
            answer = requests.get(base + "/sns/jscode2session", params=query, timeout=10)
            assert answer.json()["errcode"] == 40029  # it knows the app, not the code
        assert sandbox.stop() == 0
