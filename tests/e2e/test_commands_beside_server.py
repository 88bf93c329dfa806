"""Three processes, and the commands beside them."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from pathlib import Path

import requests

from tests.canary import CANARY
from tests.command_data import ANY_PORT, CHEAP, PASSWORD
from tests.wxauth_command import done_well, listed, ready, running, wxauth
from wxauth_server.config import DEMO_APP_ID


def test_commands_work_beside_a_running_server(data: Path) -> None:
    (data / "wxauth.toml").write_text(
        f"""
        [grpc]
        lame_duck_s = 0
        [[apps]]
        app_id = "{DEMO_APP_ID}"
        app_secret = "made up for this test"
        """
    )
    with ExitStack() as stack:
        sandbox = stack.enter_context(running("sandbox", "--listen", ANY_PORT, cwd=data))
        wechat = "http://" + ready(sandbox)
        server = stack.enter_context(
            running(
                "serve", "--grpc", ANY_PORT, cwd=data,
                variables=CHEAP | {"WXAUTH_WECHAT__BASE_URL": wechat},
            )
        )  # fmt: skip
        arguments = ("--http", ANY_PORT, "--server", ready(server))
        gateway = stack.enter_context(running("gateway", *arguments, cwd=data))
        base = "http://" + ready(gateway)

        def log_in(password: str) -> requests.Response:
            body = {"appid": DEMO_APP_ID, "user": "alice"}
            code = requests.post(wechat + "/_control/codes", json=body, timeout=10).json()["code"]
            login = {"code": code, "username": "zhangsan", "password": password}
            return requests.post(base + "/login", json=login, timeout=10)

        def ended(session_id: str) -> str:
            headers = {"Authorization": f"Bearer {session_id}"}
            answer = requests.get(base + "/session", headers=headers, timeout=10).json()
            return str(answer["error"]["metadata"]["cause"])

        first = CANARY.keep(log_in(PASSWORD).json()["sessionId"])
        [binding] = listed("bindings", "list", cwd=data)
        assert binding["account"] == {"source": "local", "id": "1"}
        assert binding["app_id"] == DEMO_APP_ID
        [session] = listed("sessions", "list", cwd=data)
        assert (session["state"], session["account"]["username"]) == ("live", "zhangsan")
        assert session["openid"] == binding["openid"]
        assert binding["openid"] in done_well(wxauth("bindings", "list", cwd=data))

        set_password = ("accounts", "set-password", "--id", "1", "--password-stdin")
        changed = wxauth(*set_password, cwd=data, stdin="another one\n", variables=CHEAP)
        assert "1 session ended" in done_well(changed)
        assert ended(first) == "PASSWORD_CHANGED"
        assert log_in(PASSWORD).json()["error"]["reason"] == "CREDENTIALS_INVALID"

        second = CANARY.keep(log_in("another one").json()["sessionId"])
        done_well(wxauth("accounts", "disable", "zhangsan", cwd=data))
        assert ended(second) == "ACCOUNT_DISABLED"
        assert log_in("another one").status_code == 401

        done_well(wxauth("accounts", "enable", "zhangsan", cwd=data))
        assert log_in("another one").status_code == 200
        states = [(row["state"], row["detail"]) for row in listed("sessions", "list", cwd=data)]
        assert states == [
            ("live", None),
            ("ended", "ACCOUNT_DISABLED"),
            ("ended", "PASSWORD_CHANGED"),
        ]
        table = done_well(wxauth("sessions", "list", "--limit", "1", cwd=data))
        assert "live" in table
        assert "There are more" in table
        assert "ended" not in table

        for command in (gateway, server, sandbox):
            assert command.stop() == 0
            assert "Traceback" not in command.said()


def test_a_session_past_its_limit_is_listed_as_expired(data: Path) -> None:
    database = sqlite3.connect(data / ".wxauth" / "wxauth.db")
    columns = "digest, handle, app_id, openid, account_source, account_id, login_at, last_seen_at"
    for number, app_id in ((1, DEMO_APP_ID), (2, "wx9999999999999999")):
        database.execute(
            f"INSERT INTO sessions ({columns}) VALUES (?, ?, ?, 'o', 'local', '1', ?, ?)",
            (bytes([number]), f"handle{number}", app_id, number, number),
        )
    database.commit()
    database.close()

    rows = listed("sessions", "list", cwd=data)

    assert [(row["handle"], row["state"], row["detail"]) for row in rows] == [
        ("handle2", "unserved", "mini-program not configured"),
        ("handle1", "expired", "idle"),
    ]
    assert rows[1]["login_at"] == "1970-01-01T00:00:00.001Z"
