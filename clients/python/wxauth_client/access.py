"""What a client shows to the server and asks of it, at the moment. The core of both twins.

Reads files, when it is made and when it is told to look at them; does not connect.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import grpc

from wxauth_client import file_watch
from wxauth_client.certificates import Certificates, watch_certificates
from wxauth_client.channel import Options, channel_options
from wxauth_client.credentials import Credentials, read_token_file
from wxauth_client.file_watch import FileWatch
from wxauth_client.target import is_on_this_machine

Metadata = tuple[tuple[str, str], ...]


class Access:
    """Where a client connects to, and what its Credentials say. Thread-safe."""

    def __init__(
        self, address: str, credentials: Credentials | None, options: Options | None
    ) -> None:
        """Raises: FileUnusable; ValueError where a token would travel in the open."""
        given = credentials or Credentials()
        if given.ca_file is None and given.has_token and not is_on_this_machine(address):
            raise ValueError(
                f"{address} is not this machine: without TLS whoever is on the way would read "
                "the token. Give ca_file"
            )
        name: Options = (
            {"grpc.ssl_target_name_override": given.server_name} if given.server_name else {}
        )
        self.address = address
        self.options = channel_options({**name, **(options or {})})
        self._certificates = _watch_certificates(given)
        self._metadata = _watch_token(given)
        self._fixed = _bearer(given.token) if given.token else ()
        watches: list[FileWatch[Any] | None] = [self._certificates, self._metadata]
        self._watches = [watch for watch in watches if watch is not None]
        self._looking = threading.Lock()
        self._looked_at = time.monotonic()

    def metadata(self) -> Metadata:
        """What goes with each call: the token as of the last look."""
        return self._fixed if self._metadata is None else self._metadata.value

    def certificates(self) -> Certificates | None:
        """What to connect with, as of the last look; None for plaintext."""
        return None if self._certificates is None else self._certificates.value

    @property
    def is_due(self) -> bool:
        """Whether there are files, and the last look at them was over a second ago."""
        since_s = time.monotonic() - self._looked_at
        return bool(self._watches) and since_s >= file_watch.INTERVAL_S

    def look(self) -> None:
        """Look at the files, if that is due and no other thread does so now.

        Takes less than a millisecond, or as long as their file system hangs; meanwhile
        the other threads go on with what there is.
        """
        if self.is_due and self._looking.acquire(blocking=False):
            try:
                self._looked_at = time.monotonic()
                for watch in self._watches:
                    watch.refresh()
            finally:
                self._looking.release()


def channel_credentials(certificates: Certificates) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        certificates.authorities, certificates.key, certificates.certificate
    )


def _watch_certificates(given: Credentials) -> FileWatch[Certificates] | None:
    if given.ca_file is None:
        return None
    return watch_certificates(
        "certificates of the client",
        certificate_file=given.certificate_file,
        key_file=given.key_file,
        ca_file=given.ca_file,
    )


def _watch_token(given: Credentials) -> FileWatch[Metadata] | None:
    file = given.token_file
    if file is None:
        return None
    return FileWatch("token of the client", [file], lambda: _bearer(read_token_file(file)))


def _bearer(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)
