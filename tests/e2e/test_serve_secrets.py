"""`wxauth serve` looks at the files with AppSecrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.canary import CANARY
from tests.command_data import ANY_PORT
from tests.wxauth_command import ready, running

APP = "[[apps]]\napp_id = 'wx0123456789abcdef'\n"
OTHER_APP = "[[apps]]\napp_id = 'wx00000000000000aa'\n"
SECRET = CANARY.keep("made up for the files of secrets")


@pytest.mark.parametrize(
    ("config", "modes", "warned"),
    [
        (f"{APP}app_secret_file = 'secret'", {"secret": 0o600, "wxauth.toml": 0o644}, []),
        (f"{APP}app_secret_file = 'secret'", {"secret": 0o640}, [("secret", "0640")]),
        (
            f"{APP}app_secret_file = 'secret'\n{OTHER_APP}app_secret_file = 'secret'",
            {"secret": 0o444},
            [("secret", "0444")],
        ),
        (f"{APP}app_secret = '{SECRET}'", {"wxauth.toml": 0o600}, []),
        (f"{APP}app_secret = '{SECRET}'", {"wxauth.toml": 0o604}, [("wxauth.toml", "0604")]),
        ("", {"wxauth.toml": 0o644}, []),
    ],
    ids=["private", "secret", "twice", "private-inline", "inline", "without"],
)
def test_a_secret_that_others_can_read_is_warned_of(
    data: Path, config: str, modes: dict[str, int], warned: list[tuple[str, str]]
) -> None:
    (data / "wxauth.toml").write_text(config)
    (data / "secret").write_text(SECRET)
    for name, mode in modes.items():
        (data / name).chmod(mode)
    with running("serve", "--grpc", ANY_PORT, cwd=data) as server:
        ready(server)
        lines = [json.loads(line) for line in server.err]
    told = [line for line in lines if "with a secret" in line["event"]]
    assert [(line["file"], line["mode"]) for line in told] == warned
    assert all(line["level"] == "warning" and "chmod 600" in line["event"] for line in told)


def test_a_configuration_named_by_a_variable_is_looked_at_too(data: Path) -> None:
    (data / "named.toml").write_text(f"{APP}app_secret = '{SECRET}'")
    (data / "named.toml").chmod(0o644)
    variables = {"WXAUTH_CONFIG": "named.toml"}
    with running("serve", "--grpc", ANY_PORT, cwd=data, variables=variables) as server:
        assert '"file": "named.toml", "mode": "0644"' in server.wait_for("with a secret")
