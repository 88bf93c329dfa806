"""A finding: what was looked at, how it is, and what to do about it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from wxauth_client.credentials import Credentials
from wxauth_client.target import is_on_this_machine
from wxauth_gateway.settings import GatewaySettings
from wxauth_server.clock import Clock
from wxauth_server.config import Configuration
from wxauth_server.settings import GrpcSettings

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
    CONFIGURATION_START = "configuration.start"
    CONFIGURATION_APPS = "configuration.apps"
    CONFIGURATION_SECRETS = "configuration.secrets"
    CONFIGURATION_ENVIRONMENT = "configuration.environment"
    KEYRING_FILE = "keyring.file"
    KEYRING_COMPLETE = "keyring.complete"
    KEYRING_WAITING = "keyring.waiting"
    KEYRING_NEEDED = "keyring.needed"
    KEYRING_PLACE = "keyring.place"
    DATABASE_FILE = "database.file"
    DATABASE_CONNECTION = "database.connection"
    DATABASE_TLS = "database.tls"
    DATABASE_VERSION = "database.version"
    DATABASE_RECOVERY = "database.recovery"
    DATABASE_DURABILITY = "database.durability"
    DATABASE_ENCODING = "database.encoding"
    DATABASE_CONNECTIONS = "database.connections"
    DATABASE_SCHEMA = "database.schema"
    DATABASE_PRIVILEGES = "database.privileges"
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
    #: --config and --data as they were given, in the words of a shell: other commands need
    #: them too. A command that is advised begins with `wxauth` and ends with these.
    options: str = ""
    #: Nothing is connected to.
    offline: bool = False

    def command(self, words: str) -> str:
        """`wxauth …` for this installation and no other."""
        return f"wxauth {words} {self.options}".rstrip()

    @property
    def directory(self) -> Path:
        return self.configuration.store.directory

    @property
    def has_gateway(self) -> bool:
        """Whether a gateway is configured here, or the server is one for a gateway beside it."""
        default = GatewaySettings(credentials=Credentials())
        if self.configuration.gateway != default:
            return True
        grpc = self.configuration.grpc
        plain = grpc.tls is None and not grpc.callers_required
        return plain and grpc.listen == GrpcSettings().listen

    @property
    def has_server(self) -> bool:
        """Whether a server is configured here, and not only a gateway to one elsewhere.

        A file that both machines have may hold the server's tables, but its mini-programs.
        """
        configuration = self.configuration
        return (
            not configuration.is_development
            or is_on_this_machine(configuration.gateway.server)
            or any(
                os.path.lexists(path)
                for path in (self.directory, configuration.callers_file, configuration.keyring_file)
            )
        )

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.now_ms() / 1000, UTC)


#: Why nothing is said of one where `has_gateway` or `has_server` is false.
NO_GATEWAY = "no gateway is configured here"
NO_SERVER = "the server is another machine, and nothing of one is here"


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
