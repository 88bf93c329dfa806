"""A finding: what was looked at, how it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from wxauth_server.clock import Clock
from wxauth_server.config import Configuration

#: How long each question over the network may take; name resolution has its own time.
TIMEOUT_S = 3.0


class Status(StrEnum):
    """How what was looked at is."""

    #: In order. May come with advice all the same.
    OK = "ok"
    #: Works now; it will not for long, or it is not what one would choose.
    WARNING = "warning"
    #: Does not work, or is not safe.
    PROBLEM = "problem"
    #: Not looked at, and why.
    SKIPPED = "skipped"


class Check(StrEnum):
    """What is looked at. The values are promised: monitoring goes by them."""

    CONFIGURATION_FILE = "configuration.file"
    CONFIGURATION_APPS = "configuration.apps"
    CONFIGURATION_SECRETS = "configuration.secrets"
    CONFIGURATION_ENVIRONMENT = "configuration.environment"
    KEYRING_FILE = "keyring.file"
    KEYRING_COMPLETE = "keyring.complete"
    KEYRING_WAITING = "keyring.waiting"
    KEYRING_NEEDED = "keyring.needed"
    KEYRING_PLACE = "keyring.place"
    DATABASE_FILE = "database.file"
    DATABASE_SCHEMA = "database.schema"
    DATABASE_CONTENT = "database.content"
    DATABASE_MODES = "database.modes"
    DATABASE_SPACE = "database.space"
    DATABASE_WAL = "database.wal"
    DATABASE_SERVER = "database.server"
    CLOCK_DATABASE = "clock.database"
    CLOCK_WECHAT = "clock.wechat"
    GRPC_CERTIFICATE = "grpc.certificate"
    GRPC_EXPIRY = "grpc.expiry"
    GRPC_NAMES = "grpc.names"
    GRPC_CLIENT_CA = "grpc.client_ca"
    GATEWAY_CERTIFICATE = "gateway.certificate"
    GATEWAY_EXPIRY = "gateway.expiry"
    GATEWAY_CLIENT_CA = "gateway.client_ca"
    CREDENTIALS_CERTIFICATE = "credentials.certificate"
    CREDENTIALS_EXPIRY = "credentials.expiry"
    CREDENTIALS_CA = "credentials.ca"
    CREDENTIALS_TOKEN = "credentials.token"  # noqa: S105 - no secret
    CREDENTIALS_TRUST = "credentials.trust"
    CALLERS_FILE = "callers.file"
    CALLERS_ROLES = "callers.roles"
    CALLERS_TOKENS = "callers.tokens"
    CALLERS_CERTIFICATES = "callers.certificates"
    SERVER_CONNECTION = "server.connection"
    WECHAT_APP = "wechat.app"
    ACCOUNT_SOURCES_CONNECTION = "account_sources.connection"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. Holds no secret and no text of a library."""

    check: Check
    status: Status
    what: str
    #: A command or an edit; empty where there is nothing to do.
    what_to_do: str = ""


@dataclass(frozen=True, slots=True)
class Installation:
    """What the checks look at."""

    configuration: Configuration
    clock: Clock

    @property
    def directory(self) -> Path:
        return self.configuration.store.directory

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now_ms() / 1000, UTC)


def ok(check: Check, what: str, what_to_do: str = "") -> Finding:
    return Finding(check, Status.OK, what, what_to_do)


def warning(check: Check, what: str, what_to_do: str) -> Finding:
    return Finding(check, Status.WARNING, what, what_to_do)


def problem(check: Check, what: str, what_to_do: str) -> Finding:
    return Finding(check, Status.PROBLEM, what, what_to_do)


def skipped(check: Check, why: str) -> Finding:
    return Finding(check, Status.SKIPPED, why)


def day(moment: datetime) -> str:
    """2026-11-22, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d")
