"""How to reach a server that is not on this machine, and how to prove who calls."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Self

from wxauth_client.certificates import read_private_file
from wxauth_client.file_watch import FileUnusable

#: `wxc_` is a caller's token, `wxa_` the one that a server keeps in its data directory.
TOKEN_FORM = re.compile(r"wx[ac]_[0-9A-Za-z_-]{43}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who the server has to be, and who we are. Files are read again when they change.

    Without `ca_file` the connection is not encrypted. Then no token is sent but to
    this machine. Raises ValueError for what cannot go together.
    """

    #: The authorities, PEM, that the server's certificate may come from. Turns TLS on.
    ca_file: Path | None = None
    #: Our own certificate, PEM, for a server that asks for one (mTLS).
    certificate_file: Path | None = None
    key_file: Path | None = None
    #: The name that the server's certificate must have. "": the one of its address.
    server_name: str = ""
    #: The caller's token, or a file that holds it and nothing else.
    token: str = field(default="", repr=False)
    token_file: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        if self.ca_file is None and (self.certificate_file is not None or self.server_name):
            raise ValueError(
                "certificate_file, key_file and server_name need ca_file, which turns TLS on"
            )
        if self.token and self.token_file is not None:
            raise ValueError("give one of token and token_file")
        if self.token and TOKEN_FORM.fullmatch(self.token) is None:
            raise ValueError("token: not a token of wxauth, which is wxc_ and 43 characters")

    @property
    def has_token(self) -> bool:
        """Whether there is a token to send."""
        return bool(self.token) or self.token_file is not None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """As WXAUTH_CA_FILE, WXAUTH_CERTIFICATE_FILE, WXAUTH_KEY_FILE, WXAUTH_SERVER_NAME,
        WXAUTH_TOKEN and WXAUTH_TOKEN_FILE say. One that is empty says nothing.

        Raises: ValueError.
        """
        given = {name: environment.get(f"WXAUTH_{name.upper()}", "") for name in names()}
        values = {
            name: Path(value) if name.endswith("_file") else value
            for name, value in given.items()
            if value
        }
        try:
            return cls(**values)  # type: ignore[arg-type]
        except ValueError as problem:
            raise ValueError(f"a variable WXAUTH_… of who calls: {problem}") from None


def read_token_file(file: Path) -> str:
    """The token that a file holds. Raises: FileUnusable."""
    token = read_private_file(file).decode("ascii", errors="replace").strip()
    if TOKEN_FORM.fullmatch(token) is None:
        raise FileUnusable(f"{file} holds no token of wxauth, which is wxc_ and 43 characters")
    return token


def names() -> list[str]:
    """The names of the fields; the variables of the environment are called after them."""
    return [one.name for one in fields(Credentials)]


# Read by pydantic, which the client library does without: an unknown key is an error.
Credentials.__pydantic_config__ = {"extra": "forbid"}  # type: ignore[attr-defined]
