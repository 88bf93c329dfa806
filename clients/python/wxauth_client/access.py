"""What a client shows to the server and asks of it, at the moment. The core of both twins.

Reads files, which blocks for less than a millisecond, at most once a second; does
not connect.
"""

from __future__ import annotations

import grpc

from wxauth_client.certificates import Certificates, read_private_file, watch_certificates
from wxauth_client.channel import Options, channel_options
from wxauth_client.credentials import TOKEN_FORM, Credentials
from wxauth_client.file_watch import FileUnusable, FileWatch
from wxauth_client.target import is_on_this_machine

Metadata = tuple[tuple[str, str], ...]


class Access:
    """Where a client connects to, and what its Credentials say."""

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

    def metadata(self) -> Metadata:
        """What goes with each call: the token as it is now."""
        return self._fixed if self._metadata is None else self._metadata.fresh()

    def certificates(self) -> Certificates | None:
        """What to connect with, as it is now; None for plaintext."""
        return None if self._certificates is None else self._certificates.fresh()


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

    def read() -> Metadata:
        token = read_private_file(file).decode("ascii", errors="replace").strip()
        if TOKEN_FORM.fullmatch(token) is None:
            raise FileUnusable(f"{file} holds no token of wxauth, which is wxc_ and 43 characters")
        return _bearer(token)

    return FileWatch("token of the client", [file], read)


def _bearer(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)
