"""What an operator sets for an account source that is the company's own user table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from wxauth_client.file_watch import FileUnusable
from wxauth_server.accounts.sources.source_settings import SourceName, SourceSettingsRefused
from wxauth_server.secret_reading import read_secret

#: The one parameter of each statement.
_PARAMETERS = {"verify_query": "username", "get_query": "id", "deleted_statement": "id"}

# As sqlalchemy.text() reads parameters: wherever they stand, `::type` and `\:` apart.
_PARAMETER = re.compile(r"(?<![:\w\\]):(\w+)(?!:)")
# What is no place for one: comments, and what is in quotes of any kind.
_QUOTED = re.compile(
    r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`[^`]*`|--[^\n]*|/\*.*?\*/", re.DOTALL
)


class UrlRefused(ValueError):
    """A database URL that cannot be used. The text says why, and nothing of the URL."""


class SqlSourceSettings(BaseModel):
    """The company's database, and how a user is found in it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: Literal["sql"]
    name: SourceName
    #: mysql://, mariadb://, postgresql:// or sqlite:////absolute/path, as SQLAlchemy writes URLs.
    url: SecretStr | None = None
    #: A file that holds the URL and nothing else.
    url_file: Path | None = None
    #: Finds a user by `:username`. Columns: id, username, hash; display_name and
    #: disabled if there are any.
    verify_query: str
    #: Finds a user by `:id`. The same columns.
    get_query: str
    #: Told when the user `:id` has left. Has to be safe to repeat.
    deleted_statement: str | None = None
    #: How long an answer may take, connecting included. A login has to be over in 3 s.
    timeout_s: Annotated[float, Field(ge=0.1, le=5)] = 2.0
    #: Connections kept open, and queries at a time.
    connections: Annotated[int, Field(ge=1, le=64)] = 8

    @field_validator(*_PARAMETERS)
    @classmethod
    def _has_its_parameter(cls, statement: str | None, info: ValidationInfo) -> str | None:
        if statement is None:
            return None
        parameter = _PARAMETERS[info.field_name or ""]
        found = set(_PARAMETER.findall(statement))
        if found != {parameter}:
            others = ", ".join(f":{name}" for name in sorted(found - {parameter}))
            raise ValueError(
                f"needs the parameter :{parameter} and no other, and has {others or 'none'}; "
                f"write \\: for a colon that begins none, CAST(:{parameter} AS …) to cast it"
            )
        if any(_PARAMETER.search(quoted) for quoted in _QUOTED.findall(statement)):
            # The driver puts the value in quotes by itself: with two pairs it would be outside.
            raise ValueError(f"write :{parameter} without quotes around it, and in no comment")
        return statement

    @model_validator(mode="after")
    def _one_url(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("give exactly one of url and url_file")
        return self

    def database_url(self) -> str:
        """The URL, read from its file where it is in one. Raises: SourceSettingsRefused."""
        if self.url is not None:
            return self.url.get_secret_value()
        try:
            return read_secret(self.url_file) if self.url_file else ""
        except FileUnusable as problem:
            raise self.refused("url_file", str(problem)) from None

    def refused(self, key: str, problem: str) -> SourceSettingsRefused:
        """The refusal of these settings for what is wrong with `key`. Never says its value."""
        return SourceSettingsRefused(f"account_sources: {key} of {self.name}: {problem}")
