"""Certificates of two sides: whether the gateway and the server would accept each other's."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Iterator

from wxauth_client.certificates import read_certificates
from wxauth_client.credentials import read_token_file
from wxauth_client.file_watch import FileUnusable
from wxauth_client.target import split_address
from wxauth_server.certificate_reading import host_names_of, unusable_key_of
from wxauth_server.doctor.certificate_form import load_chain
from wxauth_server.doctor.findings import (
    NO_GATEWAY,
    Check,
    Finding,
    Installation,
    ok,
    problem,
    skipped,
    warning,
)
from wxauth_server.doctor.handshake import Fault, Ours, rehearse

_TARGET = re.compile(
    r"(?:dns:(?://[^/]*/)?|ipv4:|ipv6:)?(?P<host>\[[^\[\]]+\]|[^:/,\[\]]+):(?P<port>[0-9]{1,5})"
)

#: What mends each fault that certificates can have.
CURES = {
    Fault.EXPIRED: "renew it",
    Fault.NOT_YET: "look at the clocks of both machines",
    Fault.UNTRUSTED: "give the certificate of the authority that issued it as "
    "gateway.credentials.ca_file or WXAUTH_CA_FILE, and the whole chain as "
    "grpc.tls.certificate_file",
    Fault.NAME: "set gateway.credentials.server_name or WXAUTH_SERVER_NAME to one of its names, "
    "or ask the authority for one with this name",
    Fault.USE: "ask the authority for one of a server (serverAuth)",
    Fault.WEAK: "ask the authority for one with a key of 2048 bits or more and SHA-256",
    Fault.ASKS: "give gateway.credentials.certificate_file and key_file, or "
    "WXAUTH_CERTIFICATE_FILE and WXAUTH_KEY_FILE, of an authority in the server's "
    "grpc.tls.client_ca_file",
}


def check_trust(installation: Installation) -> Iterator[Finding]:
    yield _names(installation)
    if not installation.has_gateway:
        yield skipped(Check.CREDENTIALS_TOKEN, NO_GATEWAY)
        yield skipped(Check.CREDENTIALS_TRUST, NO_GATEWAY)
        return
    yield _token(installation)
    yield _rehearsal(installation)


def host_and_port(target: str) -> tuple[str, int] | None:
    """Of a gRPC target, without brackets; None for one that names no single host."""
    found = _TARGET.fullmatch(target)
    if found is None:
        return None
    return found["host"].removeprefix("[").removesuffix("]"), int(found["port"])


def _names(installation: Installation) -> Finding:
    grpc = installation.configuration.grpc
    if grpc.tls is None:
        return skipped(Check.GRPC_NAMES, "grpc.tls names no certificate")
    chain = load_chain(grpc.tls.certificate_file)
    if not chain:
        return skipped(Check.GRPC_NAMES, "the certificate cannot be read")
    names = host_names_of(chain[0])
    shown = ", ".join(names) or "none"
    host, _ = split_address(grpc.listen)
    if _is_address(host):
        # Which of the machine's names clients use, only they know.
        return ok(Check.GRPC_NAMES, f"clients can reach the server by {shown}")
    if any(_covers(name, host) for name in names):
        return ok(Check.GRPC_NAMES, f"{host} is among the certificate's names: {shown}")
    return warning(
        Check.GRPC_NAMES,
        f"grpc.listen says {host}, which is not among the certificate's names: {shown}",
        "ask the authority for a certificate with this name, or let clients set server_name",
    )


def _token(installation: Installation) -> Finding:
    ours = installation.configuration.gateway.credentials
    if ours.token:
        return ok(Check.CREDENTIALS_TOKEN, "a token is given", "better: in a file, token_file")
    file = ours.token_file
    if file is None:
        return skipped(Check.CREDENTIALS_TOKEN, "gateway.credentials has no token")
    try:
        read_token_file(file)
    except FileUnusable as error:
        return problem(
            Check.CREDENTIALS_TOKEN,
            str(error),
            f"put the token that wxauth callers add or rotate printed into {file}, and nothing "
            f"else; chmod 600 {file}",
        )
    return ok(Check.CREDENTIALS_TOKEN, f"{file} holds a token")


def _rehearsal(installation: Installation) -> Finding:
    check = Check.CREDENTIALS_TRUST
    settings = installation.configuration.gateway
    theirs, ours = installation.configuration.grpc.tls, settings.credentials
    if theirs is None or ours.ca_file is None:
        return skipped(check, "grpc.tls and gateway.credentials.ca_file are not both set here")
    found = host_and_port(settings.server)
    name = ours.server_name or (found[0] if found else "")
    if not name:
        return skipped(check, f"{settings.server} does not say the server's name")
    try:
        # Before OpenSSL, which would wait for ever for what a pipe has to say.
        read_certificates(
            certificate_file=theirs.certificate_file,
            key_file=theirs.key_file,
            ca_file=theirs.client_ca_file,
        )
        read_certificates(
            certificate_file=ours.certificate_file, key_file=ours.key_file, ca_file=ours.ca_file
        )
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(theirs.certificate_file, theirs.key_file)
        if theirs.client_ca_file is not None:
            server.verify_mode = ssl.CERT_REQUIRED
            server.load_verify_locations(theirs.client_ca_file)
        client = Ours(ours.ca_file, ours.certificate_file, ours.key_file).context()
        fault = rehearse(server, client, name)
    # An SSLError is an OSError, and a name that is none a ValueError.
    except (FileUnusable, OSError, ValueError):
        return skipped(check, "the certificates of grpc.tls or gateway.credentials are unusable")
    chains = map(load_chain, filter(None, (theirs.certificate_file, ours.certificate_file)))
    if any(unusable_key_of(certificate) for chain in chains for certificate in chain[:1]):
        return skipped(check, "gRPC does not use a key of grpc.tls or gateway.credentials")
    if fault is None:
        return ok(check, f"the gateway and the server accept each other's certificates as {name}")
    return problem(
        check,
        f"as the gateway would see it, reached as {name}, the server {fault.value}",
        CURES.get(fault, "compare grpc.tls with gateway.credentials (docs/tls.md)"),
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _covers(name: str, host: str) -> bool:
    """RFC 9525 section 6.3: a wildcard stands for one whole label, the leftmost."""
    name, host = name.lower(), host.lower().removesuffix(".")
    return name == host or (name.startswith("*.") and host.partition(".")[2] == name[2:])
