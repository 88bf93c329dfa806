"""What commands make of a configuration."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import pytest

from tests.wxauth_command import done_well, refused, wxauth
from wxauth_client.certificates import ServerTls
from wxauth_client.credentials import Credentials
from wxauth_server.accounts.sources.http_source_settings import HttpSourceSettings
from wxauth_server.accounts.sources.sql_source_settings import SqlSourceSettings
from wxauth_server.config import Configuration, load_configuration

REPOSITORY = Path(__file__).parents[2]


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    refused(wxauth("serve", "--config", "gone.toml", cwd=tmp_path), "gone.toml cannot be read")
    variables = {"WXAUTH_CONFIG": "gone.toml"}
    refused(wxauth("serve", cwd=tmp_path, variables=variables), "gone.toml cannot be read")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[grpc", "is not TOML"),
        (b"\xff", "is not UTF-8"),
        (b"[grpc]\nlissten = 'x'", "grpc.lissten: there is no such key"),
        (b"[nonsense]", "nonsense: there is no such key"),
        (b"[grpc]\nlisten = '0.0.0.0:1'", "grpc: listen: 0.0.0.0:1 is not loopback"),
        (b"[[apps]]\napp_id = 'x'\napp_secret = 'hidden-from-you'", "apps.0.app_id"),
    ],
)
def test_a_configuration_that_is_wrong(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "wxauth.toml").write_bytes(content)
    line = refused(wxauth("serve", cwd=tmp_path), problem)
    assert "hidden-from-you" not in line


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    refused(wxauth("serve", "--config", tmp_path, cwd=tmp_path), "cannot be read: Is a directory")


def test_an_unknown_variable(tmp_path: Path) -> None:
    variables = {"WXAUTH_NONSENSE": "1"}
    refused(wxauth("serve", cwd=tmp_path, variables=variables), "WXAUTH_NONSENSE")


def test_a_secret_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "wxauth.toml").write_text(
        "[[apps]]\napp_id = 'wx0123456789abcdef'\napp_secret_file = 'gone'"
    )
    done_well(wxauth("keys", "init", cwd=tmp_path))
    for command in ("serve", "sandbox"):
        refused(wxauth(command, cwd=tmp_path), "app_secret_file of wx0123456789abcdef")


def test_the_example_is_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("WXAUTH_"):
            monkeypatch.delenv(name)
    example = REPOSITORY / "deploy" / "wxauth.example.toml"

    loaded = load_configuration(example)

    assert not loaded.is_development
    [app] = loaded.apps
    assert loaded.model_dump(exclude={"apps"}) == Configuration.model_construct().model_dump(
        exclude={"apps"}
    )
    text = example.read_text("utf-8")
    keys = {
        f"{table}.{key}": key
        for table in Configuration.model_fields
        if table != "account_sources"
        for key in type(app if table == "apps" else getattr(loaded, table)).model_fields
    }
    # Of what is there in two forms the one that keeps secrets elsewhere is shown.
    for source in (HttpSourceSettings, SqlSourceSettings):
        keys |= {f"account_sources.{key}": key for key in source.model_fields}
    for name in ("account_sources.key", "account_sources.deleted_statement"):
        del keys[name]
    # Tables within tables, none of which is there by default.
    within = {"grpc.tls": ServerTls, "gateway.tls": ServerTls, "gateway.credentials": Credentials}
    for name, kind in within.items():
        del keys[name]
        [table] = re.findall(rf"^# \[{re.escape(name)}\]\n((?:#.*\n)+)", text, re.MULTILINE)
        for field in dataclasses.fields(kind):
            assert re.search(rf"\b{field.name} = ", table), f"{name}.{field.name} is missing"
    for name, key in keys.items():
        assert re.search(rf"^(# )?{key} = ", text, re.MULTILINE), f"{name} is missing"
