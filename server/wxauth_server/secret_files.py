"""A look at the files that hold secrets of the configuration: whether others can read them."""

from __future__ import annotations

import logging
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path

from wxauth_server.accounts.sources.http_source_settings import HttpSourceSettings
from wxauth_server.config import Configuration

log = logging.getLogger("wxauth.command")

#: Keys whose values are secrets; the URL of an http source is none.
_SECRETS = frozenset({"app_secret", "key", "token"})
_OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def warn_of_open_secrets(configuration: Configuration) -> None:
    """Log a warning for each file with a secret that is not for its owner alone.

    No refusal, as for the key ring and the database, which are ours: a secret that
    an orchestrator mounts often has a mode that nobody can change.
    """
    for file, mode in secrets_open_to_others(configuration):
        log.warning(
            "a file with a secret is open to others: run chmod 600 on it",
            extra={"file": str(file), "mode": f"{mode:04o}"},
        )


def secrets_open_to_others(configuration: Configuration) -> Iterator[tuple[Path, int]]:
    """Each file with a secret that is not for its owner alone, and its mode."""
    for file in dict.fromkeys(_files_with_secrets(configuration)):
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
        except OSError:  # whoever reads it says so
            continue
        if mode & _OF_OTHERS:
            yield file, mode


def _files_with_secrets(configuration: Configuration) -> Iterator[Path]:
    # What the configuration was read from; variables may come before it.
    file = configuration.model_config.get("toml_file")
    if isinstance(file, Path) and file.is_file():
        # Not checked by then, if a variable took the place of these.
        read = tomllib.loads(file.read_text("utf-8"))
        tables = [
            *_tables(read.get("apps")),
            *_tables(read.get("account_sources")),
            *(
                table
                for one in _tables(read.get("gateway"))
                for table in _tables(one.get("credentials"))
            ),
        ]
        if any(
            not _SECRETS.isdisjoint(table) or (table.get("kind") == "sql" and "url" in table)
            for table in tables
        ) or any("url" in table for table in _tables(read.get("store"))):
            yield file
    if configuration.store.url_file is not None:
        yield configuration.store.url_file
    for app in configuration.apps:
        if app.app_secret_file is not None:
            yield app.app_secret_file
    for source in configuration.account_sources:
        file = source.key_file if isinstance(source, HttpSourceSettings) else source.url_file
        if file is not None:
            yield file


def _tables(read: object) -> list[dict[str, object]]:
    rows = read if isinstance(read, list) else [read]
    return [row for row in rows if isinstance(row, dict)]
