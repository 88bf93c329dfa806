"""What the settings of every account source share: the rule for names, and their refusal."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from wxauth_server.accounts.sources.source import LOCAL


class SourceSettingsRefused(ValueError):
    """The settings of a source cannot be used. The text names the key and no secret."""


def _not_ours(name: str) -> str:
    if name == LOCAL:
        raise ValueError(f'"{LOCAL}" is the source of the accounts in wxauth\'s own store')
    return name


#: What mini-programs name the source by, and accounts carry for ever.
SourceName = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$"), AfterValidator(_not_ours)]
