"""All checks of an installation, side by side; one that fails keeps none of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from wxauth_server.clock import Clock
from wxauth_server.config import Configuration
from wxauth_server.doctor.account_sources import check_account_sources
from wxauth_server.doctor.callers import check_callers
from wxauth_server.doctor.certificates import check_certificates
from wxauth_server.doctor.clock import check_clock
from wxauth_server.doctor.configuration import check_configuration, refused
from wxauth_server.doctor.connection import check_connection
from wxauth_server.doctor.database import check_database
from wxauth_server.doctor.findings import Check, Finding, Installation, problem, skipped
from wxauth_server.doctor.key_ring import check_key_ring
from wxauth_server.doctor.trust import check_trust
from wxauth_server.doctor.wechat import check_wechat
from wxauth_server.settings import ConfigurationError


@dataclass(frozen=True, slots=True)
class _Subject:
    """A function that looks at something; `about` is what it says most of."""

    about: Check
    look: Callable[[Installation], Iterator[Finding]]
    connects: bool = False


_SUBJECTS = (
    _Subject(Check.CONFIGURATION_FILE, check_configuration),
    _Subject(Check.KEYRING_FILE, check_key_ring),
    _Subject(Check.DATABASE_FILE, check_database),
    _Subject(Check.CLOCK_DATABASE, check_clock),
    _Subject(Check.GRPC_CERTIFICATE, check_certificates),
    _Subject(Check.CREDENTIALS_TRUST, check_trust),
    _Subject(Check.CALLERS_FILE, check_callers),
    _Subject(Check.SERVER_CONNECTION, check_connection, connects=True),
    _Subject(Check.WECHAT_APP, check_wechat, connects=True),
    _Subject(Check.ACCOUNT_SOURCES_CONNECTION, check_account_sources, connects=True),
)

_ORDER = list(Check)


def examine(
    load: Callable[[], Configuration],
    clock: Clock,
    *,
    offline: bool = False,
    options: str = "",
) -> list[Finding]:
    """Every finding, in the order of `Check`. `offline`: nothing is connected to.

    `load` gives the configuration or raises ConfigurationError. `options` are those of
    `Installation`. A check that fails by itself is a problem too.
    """
    try:
        installation = Installation(load(), clock, options, offline)
    except ConfigurationError as error:
        rest = (one for one in _SUBJECTS if one.about is not Check.CONFIGURATION_FILE)
        why = "the configuration cannot be used"
        return [*refused(error), *(skipped(one.about, why) for one in rest)]

    def look(subject: _Subject) -> list[Finding]:
        if offline and subject.connects:
            return [skipped(subject.about, "offline: nothing is connected to")]
        try:
            return list(subject.look(installation))
        except Exception as error:  # noqa: BLE001 - the other checks count
            return [
                problem(
                    subject.about,
                    f"this could not be looked at ({type(error).__name__})",
                    "that is a bug of wxauth doctor's: report it with the name in brackets",
                )
            ]

    with ThreadPoolExecutor(len(_SUBJECTS)) as pool:
        found = [finding for findings in pool.map(look, _SUBJECTS) for finding in findings]
    return sorted(found, key=lambda finding: _ORDER.index(finding.check))
