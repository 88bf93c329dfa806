"""One state of the database for checks of what it holds, whichever engine it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from wxauth_server.doctor.findings import TIMEOUT_S, Installation
from wxauth_server.store.inspection import InspectionFailed, inspected
from wxauth_server.store.interface import StoreUnusable, Transaction
from wxauth_server.store.opening import require_driver


@contextlib.contextmanager
def database_state(installation: Installation) -> Iterator[Transaction]:
    """What cannot write, and takes no parameters. Raises: InspectionFailed."""
    settings = installation.configuration.store
    if not settings.is_postgresql:
        with inspected(settings.directory) as inspection:
            yield inspection
        return
    if installation.offline:
        raise InspectionFailed("offline")
    try:
        require_driver()
        url = settings.database_url()
    except StoreUnusable:
        raise InspectionFailed("the database cannot be reached") from None
    from wxauth_server.store.postgresql_inspection import inspected_server

    with inspected_server(url, timeout_s=TIMEOUT_S) as server:
        yield server
