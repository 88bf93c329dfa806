"""Where an import goes: the database of a data directory, a server, or nowhere."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from wxauth_server.accounts.imports.import_trial import DryRun
from wxauth_server.accounts.imports.importing import AccountImporter, ImportBatch
from wxauth_server.cli.admin_connection import connect_admin
from wxauth_server.cli.import_at_server import ServerImport
from wxauth_server.cli.options import database_exists, load, require_database
from wxauth_server.clock import SystemClock
from wxauth_server.store.audit import Actor
from wxauth_server.store.interface import Store
from wxauth_server.store.opening import open_database
from wxauth_server.store.sqlite import SQLiteStore, SQLiteTransaction

T = TypeVar("T")


@contextlib.contextmanager
def import_destination(
    config: Path | None,
    data: Path | None,
    server: str | None,
    token_file: Path | None,
    *,
    dry_run: bool,
) -> Iterator[ImportBatch]:
    """An import at a server, or else into the database, which may be made in the data directory.

    With `dry_run` nothing is made. Needs no key ring of its own: hashes are taken
    over, not made. Raises: CommandFailed, AdminRefused, StoreUnusable, StoreTooNew.
    """
    with contextlib.ExitStack() as stack:

        def at(store: Store) -> AccountImporter:
            stack.callback(store.close)
            return AccountImporter(store, SystemClock(), actor=Actor.COMMAND)

        scratch = None
        if dry_run:
            made = tempfile.TemporaryDirectory(prefix="wxauth-")
            scratch = Path(stack.enter_context(made))
        import_batch: ImportBatch
        if server is None and token_file is None:
            configuration = load(config, data)
            directory = configuration.store.directory
            if not database_exists(configuration):
                if not directory.is_dir():
                    require_database(configuration)
                if scratch is not None:
                    directory = scratch / "empty"
            if configuration.store.is_postgresql:
                store = open_database(configuration.store)
            else:
                store = _PatientStore(directory)
            import_batch = at(store).import_batch
        else:
            admin = stack.enter_context(connect_admin(config, data, server, token_file))
            import_batch = ServerImport(admin)
        if scratch is not None:
            import_batch = DryRun(import_batch, at(SQLiteStore(scratch / "seen")))
        yield import_batch


class _PatientStore(SQLiteStore):
    """A store that lets others write: SQLite does not queue them, they just try again."""

    _ended_s = _took_s = 0.0

    def write(self, work: Callable[[SQLiteTransaction], T]) -> T:
        # With that the database is free for a third of the time. A login tries over 20
        # times within its 2 s (SQLite's busy handler): about one in 10**4 fails.
        free_s = time.monotonic() - self._ended_s
        time.sleep(max(0.0, self._took_s / 2 - free_s))
        begun_s = time.monotonic()
        try:
            return super().write(work)
        finally:
            self._ended_s = time.monotonic()
            self._took_s = self._ended_s - begun_s
