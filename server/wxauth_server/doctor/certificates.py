"""Each certificate by itself: that it can be used, what it is for, and how long it is good."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from wxauth_client.certificates import read_certificates
from wxauth_client.file_watch import FileUnusable
from wxauth_server.doctor.certificate_form import (
    is_authority,
    load_chain,
    odd_about,
    wrong_with,
)
from wxauth_server.doctor.findings import (
    Check,
    Finding,
    Installation,
    day,
    ok,
    problem,
    skipped,
    warning,
)

#: When a renewal is late, or at a third of a life that is short; and when it is urgent.
SOON = datetime.timedelta(days=30)
VERY_SOON = datetime.timedelta(days=7)

_ASK = "ask the authority for another one"


@dataclass(frozen=True, slots=True)
class Subject:
    """A certificate of the configuration, and what the findings about it are called."""

    #: The table that names its files.
    table: str
    certificate_file: Path | None
    key_file: Path | None
    ca_file: Path | None
    #: The key of `ca_file` in the table.
    ca_key: str
    certificate: Check
    expiry: Check
    authorities: Check
    is_server: bool
    #: Whether gRPC uses it, which takes fewer kinds of keys.
    over_grpc: bool


def subjects(installation: Installation) -> Iterator[Subject]:
    """What the configuration names."""
    configuration = installation.configuration
    for table, tls, checks in (
        (
            "grpc.tls",
            configuration.grpc.tls,
            (Check.GRPC_CERTIFICATE, Check.GRPC_EXPIRY, Check.GRPC_CLIENT_CA),
        ),
        (
            "gateway.tls",
            configuration.gateway.tls,
            (Check.GATEWAY_CERTIFICATE, Check.GATEWAY_EXPIRY, Check.GATEWAY_CLIENT_CA),
        ),
    ):
        yield Subject(
            table,
            tls.certificate_file if tls else None,
            tls.key_file if tls else None,
            tls.client_ca_file if tls else None,
            "client_ca_file",
            *checks,
            is_server=True,
            over_grpc=table == "grpc.tls",
        )
    ours = configuration.gateway.credentials
    yield Subject(
        "gateway.credentials",
        ours.certificate_file,
        ours.key_file,
        ours.ca_file,
        "ca_file",
        Check.CREDENTIALS_CERTIFICATE,
        Check.CREDENTIALS_EXPIRY,
        Check.CREDENTIALS_CA,
        is_server=False,
        over_grpc=True,
    )


def check_certificates(installation: Installation) -> Iterator[Finding]:
    known = {
        authority.subject
        for subject in subjects(installation)
        if subject.ca_file is not None
        for authority in load_chain(subject.ca_file)
    }
    for subject in subjects(installation):
        if subject.certificate_file is None:
            yield skipped(subject.certificate, f"{subject.table} names no certificate")
        else:
            yield from _certificate(subject, known, installation.now())
        if subject.ca_file is None:
            yield skipped(subject.authorities, f"{subject.table}.{subject.ca_key} is not set")
        else:
            yield from _authorities(subject, subject.ca_file, installation.now())


def _certificate(
    subject: Subject, known: Collection[x509.Name], now: datetime.datetime
) -> Iterator[Finding]:
    file = subject.certificate_file
    assert file is not None  # noqa: S101 - for mypy
    in_order = True
    try:
        read_certificates(certificate_file=file, key_file=subject.key_file, ca_file=None)
    except FileUnusable as error:
        in_order = False
        yield problem(
            subject.certificate,
            str(error),
            f"correct {subject.table}, or put the right certificate and its key there, PEM; the "
            "key with chmod 600",
        )
    chain = load_chain(file)
    if not chain:
        yield skipped(subject.expiry, f"{file} holds no certificate that can be read")
        return
    for what in wrong_with(chain, is_server=subject.is_server, over_grpc=subject.over_grpc):
        in_order = False
        yield problem(subject.certificate, f"{file}: {what}", _ASK)
    for what, what_to_do in odd_about(chain, known):
        in_order = False
        yield warning(subject.certificate, f"{file}: {what}", what_to_do)
    if in_order:
        yield ok(subject.certificate, f"{file} and its key can be used")
    yield from _expiries(subject.expiry, file, chain, now)


def _authorities(subject: Subject, file: Path, now: datetime.datetime) -> Iterator[Finding]:
    try:
        read_certificates(certificate_file=None, key_file=None, ca_file=file)
    except FileUnusable as error:
        yield problem(subject.authorities, str(error), f"correct {subject.table}.{subject.ca_key}")
        return
    found = load_chain(file)
    if not any(is_authority(certificate) for certificate in found):
        yield problem(
            subject.authorities,
            f"{file} holds no certificate of an authority",
            f"give the authority's own certificate as {subject.table}.{subject.ca_key}, not one "
            "that it issued",
        )
        return
    yield from _expiries(subject.authorities, file, found, now)


def _expiries(
    check: Check, file: Path, chain: list[x509.Certificate], now: datetime.datetime
) -> Iterator[Finding]:
    """From when until when the certificates of a file are good."""
    begins = max(certificate.not_valid_before_utc for certificate in chain)
    first = min(chain, key=lambda certificate: certificate.not_valid_after_utc)
    ends = first.not_valid_after_utc
    soon = min(SOON, (ends - first.not_valid_before_utc) / 3)
    renew = "renew it now: put the new one in its place, it is taken up without a restart"
    if begins > now:
        yield problem(
            check,
            f"{file} is not valid before {day(begins)}",
            "look at the clock of this machine, or wait, or ask for one that is valid now",
        )
    elif ends <= now:
        yield problem(check, f"{file} expired on {day(ends)}", renew)
    elif ends - now <= soon:
        left = ends - now
        days = (
            f"{left.days} days"
            if left.days > 1
            else ("less than 2 days" if left.days else "less than a day")
        )
        yield warning(
            check,
            f"{file} expires in {days}, on {day(ends)}",
            renew if left <= VERY_SOON else "renew it, and see why that did not happen by itself",
        )
    else:
        yield ok(check, f"{file} is valid until {day(ends)}")
