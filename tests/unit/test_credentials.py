"""Credentials of a client, and what becomes of them: files, variables, and where a token goes."""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest

from tests.canary import CANARY
from tests.certificates import Authority
from wxauth_client import AuthClient, Credentials, FileUnusable, file_watch
from wxauth_client.access import Access
from wxauth_client.target import is_on_this_machine
from wxauth_server.callers.tokens import ADMIN_PREFIX, CALLER_PREFIX, new_token

CA, CERTIFICATE, KEY = Path("ca.pem"), Path("own.pem"), Path("own.key")


@pytest.fixture
def token() -> str:
    return CANARY.keep(new_token(CALLER_PREFIX))


@pytest.fixture
def token_file(tmp_path: Path, token: str) -> Path:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(token + "\n")
    return file


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"ca_file": CA, "certificate_file": CERTIFICATE}, "go together"),
        ({"ca_file": CA, "key_file": KEY}, "go together"),
        ({"certificate_file": CERTIFICATE, "key_file": KEY}, "need ca_file"),
        ({"server_name": "wxauth.internal"}, "need ca_file"),
        ({"token": "wxc_" + "a" * 43, "token_file": Path("token")}, "one of token and token_file"),
        ({"token": "wxs_" + "a" * 43}, "not a token of wxauth"),
        ({"token": "wxc_" + "a" * 42}, "not a token of wxauth"),
        ({"token": "wxc_" + "a" * 43 + "\n"}, "not a token of wxauth"),
        ({"token": "Bearer wxc_" + "a" * 43}, "not a token of wxauth"),
    ],
)
def test_what_does_not_go_together(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text) as refusal:
        Credentials(**given)
    assert "aaa" not in str(refusal.value)


def test_a_token_is_not_shown(token: str) -> None:
    credentials = Credentials(token=token)
    assert token not in f"{credentials!r} {credentials}"
    with pytest.raises(ValueError, match="not a token") as refusal:
        Credentials(token=token + "x")
    shown = "".join(traceback.format_exception(refusal.value))
    assert token not in shown
    assert token.encode() not in pickle.dumps(refusal.value)


def test_the_environment(token: str) -> None:
    assert Credentials.from_environment({}) == Credentials()
    every = {
        "WXAUTH_CA_FILE": "/etc/wxauth/ca.pem",
        "WXAUTH_CERTIFICATE_FILE": "/etc/wxauth/own.pem",
        "WXAUTH_KEY_FILE": "/etc/wxauth/own.key",
        "WXAUTH_SERVER_NAME": "wxauth.internal",
        "WXAUTH_TOKEN_FILE": "/etc/wxauth/token",
        "WXAUTH_TOKEN": "",  # as an unset one
    }
    assert Credentials.from_environment(every) == Credentials(
        ca_file=Path("/etc/wxauth/ca.pem"),
        certificate_file=Path("/etc/wxauth/own.pem"),
        key_file=Path("/etc/wxauth/own.key"),
        server_name="wxauth.internal",
        token_file=Path("/etc/wxauth/token"),
    )
    assert Credentials.from_environment({"WXAUTH_TOKEN": token}).token == token
    with pytest.raises(ValueError, match="one of token and token_file"):
        Credentials.from_environment({**every, "WXAUTH_TOKEN": token})


def test_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("WXAUTH_TOKEN", token)
    assert Credentials.from_environment().token == token


# --- Tokens -----------------------------------------------------------------


def sent(credentials: Credentials) -> tuple[tuple[str, str], ...]:
    return Access("127.0.0.1:50051", credentials, None).metadata()


def test_what_is_sent(token: str, token_file: Path) -> None:
    assert sent(Credentials()) == ()
    bearer = (("authorization", f"Bearer {token}"),)
    assert sent(Credentials(token=token)) == bearer
    assert sent(Credentials(token_file=token_file)) == bearer
    of_the_server = CANARY.keep(new_token(ADMIN_PREFIX))
    assert sent(Credentials(token=of_the_server)) == (("authorization", f"Bearer {of_the_server}"),)


def test_a_token_file_is_followed(token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_watch, "INTERVAL_S", 0)
    access = Access("127.0.0.1:50051", Credentials(token_file=token_file), None)
    before = access.metadata()
    token_file.write_text("wxc_ and no token")
    access.look()
    assert access.metadata() == before
    new = CANARY.keep(new_token(CALLER_PREFIX))
    token_file.write_text(new)
    access.look()
    assert access.metadata() == (("authorization", f"Bearer {new}"),)


@pytest.mark.parametrize("content", [b"", b"no token", b"wxc_" + b"\xff" * 43, b"wxc_a wxc_b"])
def test_a_file_without_a_token(token_file: Path, content: bytes) -> None:
    token_file.write_bytes(content)
    with pytest.raises(FileUnusable, match=r"holds no token of wxauth|is empty"):
        AuthClient(credentials=Credentials(token_file=token_file))


def test_a_token_file_that_others_can_read(token_file: Path, token: str) -> None:
    token_file.chmod(0o644)
    with pytest.raises(FileUnusable, match="open to others") as refusal:
        AuthClient(credentials=Credentials(token_file=token_file))
    assert token not in str(refusal.value)


def test_files_that_cannot_be_used_are_said_when_a_client_is_made(tmp_path: Path) -> None:
    with pytest.raises(FileUnusable, match=r"nowhere\.pem cannot be read: No such file"):
        AuthClient(credentials=Credentials(ca_file=tmp_path / "nowhere.pem"))


# --- Where a token may go ---------------------------------------------------

HERE = [
    "127.0.0.1:50051",
    "127.8.9.10",
    "localhost:50051",
    "LOCALHOST",
    "dns:localhost:50051",
    "dns:///127.0.0.1:50051",
    "ipv4:127.0.0.1:50051,127.0.0.2:50051",
    "[::1]:50051",
    "::1",
    "ipv6:[::1]:50051",
    "ipv6:///[::1]:50051",
    "unix:/run/wxauth.sock",
    "unix:///run/wxauth.sock",
    "unix-abstract:wxauth",
]
ELSEWHERE = [
    "",
    "wxauth:50051",
    "10.0.0.1:50051",
    "0.0.0.0:50051",
    "[::]:50051",
    "dns:///wxauth:50051",
    "dns://8.8.8.8/localhost:50051",  # what that server calls so
    "ipv4:127.0.0.1:50051,10.0.0.1:50051",
    "localhost.example.com:50051",
    "127.0.0.1.example.com:50051",
    "example.com:50051?127.0.0.1",
    "https://localhost:50051",
    "xds:///localhost",
    "xds:localhost",
    "127.0.0.1:50051@example.com",
    "localhost%2eexample.com:50051",
    "[::1",
    "::1]",
    "example.com#localhost",
    "vsock:2:50051",
]


@pytest.mark.parametrize("target", HERE)
def test_targets_on_this_machine(target: str) -> None:
    assert is_on_this_machine(target)


@pytest.mark.parametrize("target", ELSEWHERE)
def test_targets_elsewhere(target: str) -> None:
    assert not is_on_this_machine(target)


def test_a_token_does_not_travel_in_the_open(token: str, token_file: Path, tmp_path: Path) -> None:
    for credentials in (Credentials(token=token), Credentials(token_file=token_file)):
        with pytest.raises(ValueError, match="wxauth:50051 is not this machine") as refusal:
            AuthClient("wxauth:50051", credentials=credentials)
        assert token not in str(refusal.value)
    encrypted = Credentials(ca_file=Authority(tmp_path).ca, token=token)
    AuthClient("wxauth:50051", credentials=encrypted).close()
