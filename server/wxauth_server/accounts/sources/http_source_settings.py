"""What an operator sets for an account source that is the company's own HTTP service."""

from __future__ import annotations

import ipaddress
import re
import ssl
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from wxauth_client.file_watch import FileUnusable
from wxauth_client.target import is_loopback
from wxauth_server.accounts.sources.source_settings import SourceName, SourceSettingsRefused
from wxauth_server.secret_reading import read_secret

# Nothing that HTTP libraries spell in two ways: the path is part of what is signed.
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~-]+)*)/?"
)

# 32 characters are 128 bits even where they are hex digits.
_KEY = re.compile(r"[!-~]{32,256}")


class HttpSourceSettings(BaseModel):
    """The company's service that answers who an account is, and where it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: Literal["http"]
    name: SourceName
    #: https://host[:port][/path]; http:// on loopback only.
    url: str
    #: What requests are signed with; the service has it too. 32 to 256 characters.
    key: SecretStr | None = None
    #: A file that holds the key and nothing else.
    key_file: Path | None = None
    #: The certificate authorities to trust in place of the public ones, in PEM.
    ca_file: Path | None = None
    #: How long an answer may take, connecting included. A login has to be over in 3 s.
    timeout_s: Annotated[float, Field(ge=0.1, le=5)] = 2.0
    #: Requests at a time. What exceeds it is refused at once.
    connections: Annotated[int, Field(ge=1, le=256)] = 16

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        found = _URL.fullmatch(url)
        if found is None or not {".", ".."}.isdisjoint(found["path"].split("/")):
            raise ValueError(
                "https://host[:port][/path], of letters, digits and -._~ only; "
                "no user, query or fragment"
            )
        if found["host"].startswith("[") and not _is_ipv6(found["host"][1:-1]):
            raise ValueError("what is in the brackets is no IPv6 address")
        if found["port"] and not 0 < int(found["port"]) < 65_536:
            raise ValueError("there is no such port")
        if found["scheme"] == "http" and not is_loopback(found["host"]):
            raise ValueError("http:// on 127.0.0.1, localhost or [::1] only: passwords go there")
        return url.rstrip("/")

    @field_validator("key")
    @classmethod
    def _long_enough(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not _KEY.fullmatch(key.get_secret_value()):
            raise ValueError("not 32 to 256 printable ASCII characters without spaces")
        return key

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if (self.key is None) == (self.key_file is None):
            raise ValueError("give exactly one of key and key_file")
        return self

    def signing_key(self) -> bytes:
        """The key, read from its file where it is in one. Raises: SourceSettingsRefused."""
        if self.key is not None:
            return self.key.get_secret_value().encode()
        try:
            key = read_secret(self.key_file) if self.key_file else ""
        except FileUnusable as problem:
            raise self._refused("key_file", str(problem)) from None
        if not _KEY.fullmatch(key):
            raise self._refused(
                "key_file",
                f"{self.key_file} does not hold one line of 32 to 256 printable ASCII characters",
            )
        return key.encode()

    def check_ca_file(self) -> None:
        """Raises: SourceSettingsRefused when there is a ca_file and it is of no use."""
        if self.ca_file is None:
            return
        try:
            ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:  # an SSLError is one too
            raise self._refused(
                "ca_file", f"{self.ca_file} holds no certificates ({type(error).__name__})"
            ) from None

    def _refused(self, key: str, problem: str) -> SourceSettingsRefused:
        return SourceSettingsRefused(f"account_sources: {key} of {self.name}: {problem}")


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
