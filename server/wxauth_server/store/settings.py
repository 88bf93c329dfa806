"""What an operator sets of the database: SQLite in a directory, or a PostgreSQL server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from wxauth_client.file_watch import FileUnusable
from wxauth_server.secret_reading import read_secret
from wxauth_server.store.interface import StoreUnusable
from wxauth_server.store.postgresql_url import DatabaseUrlRefused, read_database_url

#: Validations read with one of them, others with the rest.
MIN_CONNECTIONS = 4


class StoreSettings(BaseModel):
    """Where the data is."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    #: Directory of the SQLite database, if it is that, and of what each server has for
    #: itself; of the key ring and the callers, unless they are put elsewhere.
    directory: Path = Path(".wxauth")
    #: postgresql://user:password@host:port/database. Without it, and without url_file,
    #: the database is SQLite in the directory.
    url: SecretStr | None = None
    #: A file that holds the URL and nothing else, closed to others.
    url_file: Path | None = None
    #: Connections to PostgreSQL that one server may have at a time.
    connections: Annotated[int, Field(ge=MIN_CONNECTIONS, le=1000)] = 10

    @field_validator("url")
    @classmethod
    def _of_a_database(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            read_database_url(url.get_secret_value())
        return url

    @model_validator(mode="after")
    def _one_url(self) -> Self:
        if self.url is not None and self.url_file is not None:
            raise ValueError("give one of url and url_file, or none for SQLite")
        return self

    @property
    def is_postgresql(self) -> bool:
        """Whether the database is on a PostgreSQL server, and not in the directory."""
        return self.url is not None or self.url_file is not None

    @property
    def writers(self) -> int:
        """How many transactions of a server may write at a time."""
        # One connection is for validations, two for other reads, two for operators.
        return max(1, self.connections - 5) if self.is_postgresql else 1

    @property
    def place(self) -> str:
        """Where the database is, in a sentence about it."""
        return "on the PostgreSQL server" if self.is_postgresql else f"in {self.directory}"

    def database_url(self) -> str:
        """The URL, read from its file where it is in one; "" for SQLite.

        Raises: StoreUnusable.
        """
        if self.url_file is None:
            return self.url.get_secret_value() if self.url else ""
        try:
            url = read_secret(self.url_file, closed=True)
            read_database_url(url)
        except FileUnusable as problem:
            raise StoreUnusable(f"store: url_file: {problem}") from None
        except DatabaseUrlRefused as problem:
            raise StoreUnusable(f"store: url_file: {self.url_file}: {problem}") from None
        return url
