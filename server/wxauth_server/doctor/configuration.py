"""The configuration: what it serves, who can read its secrets, what else the process is told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from wxauth_server.config import Configuration
from wxauth_server.doctor.findings import (
    Check,
    Finding,
    Installation,
    ok,
    problem,
    warning,
)
from wxauth_server.secret_files import secrets_open_to_others
from wxauth_server.settings import ConfigurationError
from wxauth_server.transport_security import (
    DEBUGGING,
    UnsafeToServe,
    refuse_unsafe_gateway,
    refuse_unsafe_server,
)


def refused(error: ConfigurationError) -> Iterator[Finding]:
    """A finding for each key that is wrong."""
    for line in str(error).splitlines():
        yield problem(
            Check.CONFIGURATION_FILE,
            line,
            "correct it; deploy/wxauth.example.toml has every key with its values",
        )


def check_configuration(installation: Installation) -> Iterator[Finding]:
    configuration = installation.configuration
    file = configuration.model_config.get("toml_file")
    read = isinstance(file, Path) and file.is_file()
    yield ok(
        Check.CONFIGURATION_FILE,
        f"{file} can be used" if read else "no file is read: variables and defaults hold",
    )
    yield from _start(installation)
    yield from _apps(configuration)
    yield from _secrets(configuration)
    yield from _environment(configuration)


def _start(installation: Installation) -> Iterator[Finding]:
    """What the commands that serve look at before anything else, as they do it themselves."""
    configuration = installation.configuration
    refusals = []
    try:
        if installation.has_server:
            refuse_unsafe_server(configuration)
    except UnsafeToServe as refusal:
        refusals += [("serve", line) for line in str(refusal).splitlines()]
    try:
        refuse_unsafe_gateway(configuration.gateway)
    except UnsafeToServe as refusal:
        refusals += [("gateway", line) for line in str(refusal).splitlines()]
    for command, why in refusals:
        yield problem(
            Check.CONFIGURATION_START,
            f"wxauth {command} refuses to start: {why}",
            "mend that; docs/tls.md says what it takes to be reached by others",
        )
    if not refusals:
        yield ok(Check.CONFIGURATION_START, "nothing here is unsafe to serve")


def _apps(configuration: Configuration) -> Iterator[Finding]:
    if configuration.is_development:
        yield warning(
            Check.CONFIGURATION_APPS,
            "no mini-program is configured, so the demo one is served, whose secret is public",
            "for more than a trial give an [[apps]] table in the file that --config or "
            "WXAUTH_CONFIG names; where only the gateway runs there is nothing to do",
        )
        return
    for settings in configuration.apps:
        try:
            settings.app()
        except ConfigurationError as error:
            yield problem(
                Check.CONFIGURATION_APPS,
                str(error),
                "put the AppSecret into that file, and nothing else, readable by wxauth's user",
            )
        else:
            yield ok(Check.CONFIGURATION_APPS, f"{settings.app_id} is configured")


def _secrets(configuration: Configuration) -> Iterator[Finding]:
    found = False
    for file, mode in secrets_open_to_others(configuration):
        found = True
        yield warning(
            Check.CONFIGURATION_SECRETS,
            f"{file} holds a secret and is open to others (mode {mode:04o})",
            f"chmod 600 {file}, and replace the secret if others had access; where an "
            "orchestrator sets the mode, close the mount to others",
        )
    if not found:
        yield ok(Check.CONFIGURATION_SECRETS, "files with secrets are closed to others")


def _environment(configuration: Configuration) -> Iterator[Finding]:
    found = [name for name in DEBUGGING if os.environ.get(name)]
    # Off loopback the server and the gateway refuse to start with one.
    here_only = configuration.grpc.is_loopback and configuration.gateway.is_loopback
    say = warning if here_only else problem
    for name in found:
        yield say(
            Check.CONFIGURATION_ENVIRONMENT,
            f"{name} is set: it is for debugging, and what it logs can hold secrets",
            f"unset {name} for the server and the gateway",
        )
    if not found:
        yield ok(Check.CONFIGURATION_ENVIRONMENT, "no debugging variable is set")
