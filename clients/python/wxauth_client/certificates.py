"""Certificates, their keys and authorities as files: read together, checked, never logged."""

from __future__ import annotations

import ssl
import stat
from dataclasses import dataclass, field
from pathlib import Path

from wxauth_client.file_watch import FileUnusable, FileWatch
from wxauth_client.guarded_file import read_guarded_file

_EXPOSED = (
    "holds a secret and is open to others (mode {mode}): run chmod 600 on it, and replace the "
    "secret if others had access"
)


@dataclass(frozen=True, slots=True)
class ServerTls:
    """The files of a server that speaks TLS: a table [grpc.tls] or [gateway.tls].

    With `client_ca_file` only clients are let in that have a certificate of one of
    its authorities (mTLS).
    """

    certificate_file: Path
    key_file: Path
    client_ca_file: Path | None = None


# Read by pydantic, which the client library does without: an unknown key is an error.
ServerTls.__pydantic_config__ = {"extra": "forbid"}  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the files hold, PEM. `certificate` begins with our own; its chain follows."""

    # Not shown: a file may hold both the certificate and its key.
    certificate: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)
    #: The authorities that the other side's certificate may come from.
    authorities: bytes | None = field(default=None, repr=False)


def watch_certificates(
    subject: str,
    *,
    certificate_file: Path | None,
    key_file: Path | None,
    ca_file: Path | None,
) -> FileWatch[Certificates]:
    """The certificates of these files, now and after each change.

    Raises: FileUnusable.
    """

    def read() -> Certificates:
        return read_certificates(
            certificate_file=certificate_file, key_file=key_file, ca_file=ca_file
        )

    files = [file for file in (certificate_file, key_file, ca_file) if file is not None]
    return FileWatch(subject, files, read)


def read_certificates(
    *, certificate_file: Path | None, key_file: Path | None, ca_file: Path | None
) -> Certificates:
    """Read and check: each is PEM, the key is the certificate's, and no stranger reads it.

    A certificate that has expired is read like another: whether it is good for
    anything is for the other side to say. Raises: FileUnusable.
    """
    if (certificate_file is None) != (key_file is None):
        raise FileUnusable("a certificate and its key go together: give both files or neither")
    certificate = key = authorities = None
    if certificate_file is not None and key_file is not None:
        certificate = _read(certificate_file)
        key = read_private_file(key_file)
        _check_pair(certificate_file, key_file, certificate, key)
    if ca_file is not None:
        authorities = _read(ca_file)
        _check_authorities(ca_file, authorities)
    return Certificates(certificate, key, authorities)


def read_private_file(file: Path) -> bytes:
    """The content of a file with a secret.

    Its group may read it, as where an orchestrator mounts it; others may not.
    Raises: FileUnusable.
    """
    return _read(file, forbidden=stat.S_IRWXO | stat.S_IWGRP)


def _read(file: Path, *, forbidden: int = 0) -> bytes:
    content, _ = read_guarded_file(file, forbidden=forbidden, exposed=_EXPOSED)
    if not content.strip():
        raise FileUnusable(f"{file} is empty")
    return content


def _check_pair(certificate_file: Path, key_file: Path, certificate: bytes, key: bytes) -> None:
    if b"-----BEGIN CERTIFICATE-----" not in certificate:
        raise FileUnusable(f"{certificate_file} holds no certificate in PEM")
    if b"PRIVATE KEY-----" not in key:
        raise FileUnusable(f"{key_file} holds no private key in PEM")
    if b"ENCRYPTED" in key:
        raise FileUnusable(
            f"{key_file} is protected by a passphrase, which nobody is there to type: "
            "store it without one, mode 0600"
        )
    try:
        # A password, so that nobody is asked for one on a terminal.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate_file, key_file, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise FileUnusable(
                f"{key_file} is not the key of the certificate {certificate_file}"
            ) from None
        raise FileUnusable(
            f"{certificate_file} and {key_file} cannot be read as a certificate and its key"
        ) from None
    except OSError as error:
        raise FileUnusable(
            f"{certificate_file} and {key_file} cannot be read: {error.strerror}"
        ) from None
    # ssl reads files only: what it checked must be what was read.
    if (_read(certificate_file), _read(key_file)) != (certificate, key):
        raise FileUnusable(f"{certificate_file} and {key_file} are being replaced just now")


def _check_authorities(file: Path, authorities: bytes) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        # Bundles have names in their comments, in whatever alphabet.
        context.load_verify_locations(cadata=authorities.decode("ascii", errors="ignore"))
    except (ssl.SSLError, ValueError):
        raise FileUnusable(f"{file} cannot be read as certificates of authorities, PEM") from None
