"""Opens the account sources of the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.accounts.sources.http_source import HttpSource
from wxauth_server.accounts.sources.local_source import LocalSource
from wxauth_server.accounts.sources.source import AccountSource
from wxauth_server.accounts.sources.sql_source_settings import SqlSourceSettings
from wxauth_server.config import AccountSourceSettings
from wxauth_server.pools import Pools
from wxauth_server.store.interface import Store


def open_sources(
    settings: Iterable[AccountSourceSettings], *, store: Store, hasher: PasswordHasher, pools: Pools
) -> Mapping[str, AccountSource]:
    """The sources by name, our own store among them. None of them is asked anything yet.

    Raises: SourceSettingsRefused.
    """
    local = LocalSource(store, hasher, passwords=pools.passwords, readers=pools.readers)
    sources: dict[str, AccountSource] = {local.name: local}
    for each in settings:
        if isinstance(each, SqlSourceSettings):
            # SQLAlchemy and the drivers take time to import, and are another extra.
            from wxauth_server.accounts.sources.sql_source import SqlSource

            sources[each.name] = SqlSource.open(each, hasher, pools.passwords)
        else:
            sources[each.name] = HttpSource.open(each)
    return sources


async def close_sources(sources: Mapping[str, AccountSource]) -> None:
    """Close them all."""
    await asyncio.gather(*(source.close() for source in sources.values()))
