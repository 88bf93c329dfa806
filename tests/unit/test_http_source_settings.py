"""What can be set for an account source over HTTP, and what its refusals say."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.scripted_business import KEY, settings_of
from wxauth_server.accounts.sources.http_source import HttpSource
from wxauth_server.accounts.sources.http_source_settings import HttpSourceSettings
from wxauth_server.accounts.sources.source_settings import SourceSettingsRefused

URL = "https://accounts.example.com/wxauth"


def refusal(**fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        settings_of(**{"url": URL, **fields})
    said = "".join(traceback.format_exception(caught.value))
    assert KEY not in said
    return said


def test_the_defaults() -> None:
    settings = settings_of(URL)
    assert (settings.timeout_s, settings.connections) == (2.0, 16)
    assert settings.signing_key() == KEY.encode()
    assert KEY not in repr(settings)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://accounts.example.com", None),
        ("https://accounts.example.com/", "https://accounts.example.com"),
        ("https://accounts:8443/a/b_c~d-1.2/", "https://accounts:8443/a/b_c~d-1.2"),
        ("https://[2001:db8::1]:443/v1", None),
        ("https://10.0.0.7", None),
        ("http://127.0.0.1:8070", None),
        ("http://localhost/x", None),
        ("http://[::1]:8070", None),
        ("http://127.0.0.2", None),
    ],
)
def test_an_url_that_is_one(url: str, kept: str | None) -> None:
    assert settings_of(url).url == (kept or url)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "https://host"),
        ("accounts.example.com", "https://host"),
        ("ftp://accounts.example.com", "https://host"),
        ("https://", "https://host"),
        ("https://.example.com", "https://host"),
        ("https://user:word@example.com", "https://host"),
        ("https://example.com?key=1", "https://host"),
        ("https://example.com/#x", "https://host"),
        ("https://example.com/a b", "https://host"),
        ("https://example.com/%2e", "https://host"),
        ("https://example.com//a", "https://host"),
        ("https://example.com/a/../b", "https://host"),
        ("https://example.com/.", "https://host"),
        ("https://例子.com", "https://host"),
        ("https://example.com\n", "https://host"),
        ("https://example.com:0", "no such port"),
        ("https://example.com:65536", "no such port"),
        ("https://[::::]", "no IPv6 address"),
        ("http://accounts.example.com", "passwords go there"),
        ("http://127.0.0.1.example.com", "passwords go there"),
        ("http://0.0.0.0:8070", "passwords go there"),
        ("http://[::2]:8070", "passwords go there"),
    ],
)
def test_an_url_that_is_none(url: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem) as caught:
        settings_of(url)
    [error] = caught.value.errors()
    assert error["loc"] == ("url",)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name": "local"}, "own store"),
        ({"name": ""}, "pattern"),
        ({"name": "a" * 33}, "pattern"),
        ({"name": "Members"}, "pattern"),
        ({"name": "members\n"}, "pattern"),
        ({"key": None}, "exactly one of key and key_file"),
        ({"key_file": "key.txt"}, "exactly one of key and key_file"),
        ({"key": KEY[:31]}, "32 to 256"),
        ({"key": KEY + "\n"}, "32 to 256"),
        ({"key": "密" * 32}, "32 to 256"),
        ({"key": "k" * 257}, "32 to 256"),
        ({"timeout_s": 0.09}, "greater than or equal"),
        ({"timeout_s": 5.1}, "less than or equal"),
        ({"timeout_s": float("nan")}, "than or equal"),
        ({"connections": 0}, "greater than or equal"),
        ({"connections": 257}, "less than or equal"),
        ({"retries": 3}, "Extra inputs"),
        ({"kind": "https"}, "'http'"),
    ],
)
def test_fields_out_of_bounds(fields: dict[str, Any], problem: str) -> None:
    assert problem in refusal(**fields)


def test_the_bounds_are_inside() -> None:
    within: list[dict[str, Any]] = [
        {"name": "a"},
        {"name": "a-b_9" + "x" * 27},
        {"key": "k" * 32},
        {"key": "k" * 256},
        {"timeout_s": 0.1, "connections": 1},
        {"timeout_s": 5, "connections": 256},
    ]
    for changed in within:
        settings_of(URL, **changed)


def in_file(file: Path, content: bytes) -> HttpSourceSettings:
    file.write_bytes(content)
    return settings_of(URL, key=None, key_file=file)


def test_a_key_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    assert in_file(file, KEY.encode() + b"\r\n").signing_key() == KEY.encode()
    for content in (b"", KEY[:31].encode(), f"{KEY}\n{KEY}".encode(), KEY.encode() + b"\0"):
        with pytest.raises(SourceSettingsRefused, match="key_file of members") as refused:
            HttpSource.open(in_file(file, content))
        assert "32 to 256" in str(refused.value)
        assert KEY[:31] not in str(refused.value)


def test_a_key_file_that_cannot_be_read(tmp_path: Path) -> None:
    missing = settings_of(URL, key=None, key_file=tmp_path / "missing")
    for settings in (missing, in_file(tmp_path / "key", b"\xff" * 40)):
        with pytest.raises(SourceSettingsRefused, match=r"key_file of members.*(read|UTF-8)"):
            HttpSource.open(settings)


def test_a_ca_file_that_is_none(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    for file in (tmp_path / "missing.pem", empty, tmp_path):
        with pytest.raises(SourceSettingsRefused, match=r"ca_file of members.*no certificates"):
            HttpSource.open(settings_of(URL, ca_file=file))
