"""A configuration file that a test writes, and what comes of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wxauth_server.config import Configuration, load_configuration
from wxauth_server.settings import ConfigurationError

SECRET = "fedcba9876543210fedcba9876543210"
APP = "wx1111111111111111"
OTHER = "wx2222222222222222"


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No variables, and a working directory without a file; the directory."""
    for variable in os.environ:
        if variable.upper().startswith("WXAUTH"):
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def app(app_id: str = APP, more: str = f'app_secret = "{SECRET}"') -> str:
    return f'[[apps]]\napp_id = "{app_id}"\n{more}\n'


def load(text: str | None, **flags: object) -> Configuration:
    """The configuration of a file with this text, or without one."""
    file = None
    if text is not None:
        file = Path("given.toml")
        file.write_text(text, "utf-8")
    return load_configuration(file, **flags)


def refused(text: str | None = None) -> str:
    """Why a configuration is refused; never with a secret in it."""
    with pytest.raises(ConfigurationError) as refusal:
        load(text)
    error = refusal.value
    assert error.__suppress_context__ or error.__context__ is None
    assert SECRET not in f"{error!r}"
    return str(error)
