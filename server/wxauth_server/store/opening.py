"""Opening the database together with the key ring that its rows need."""

from __future__ import annotations

from importlib.util import find_spec

from wxauth_server.config import Configuration
from wxauth_server.keyring import KeyRing, KeyRingUnusable, Purpose, load_keyring
from wxauth_server.store.interface import Store, StoreUnusable, Transaction
from wxauth_server.store.keys import KeyInUse, note_key_in_use, noted_keys
from wxauth_server.store.settings import StoreSettings
from wxauth_server.store.sqlite import DATABASE_NAME, SQLiteStore

#: What rows are read with. What `digest` keys make is never read back.
_USED_BY_ROWS = (Purpose.PEPPER, Purpose.SEAL)


#: Connections of a command: it does one thing at a time.
COMMAND_CONNECTIONS = 4
#: How long a statement of a command may take: some read whole tables, and nobody waits
#: for a command but the operator.
COMMAND_PATIENCE_S = 60.0


def open_database(settings: StoreSettings, *, connections: int | None = None) -> Store:
    """The database, without the key ring; a server's has so many `connections` at most.

    Without them it is for a command, which has COMMAND_CONNECTIONS and COMMAND_PATIENCE_S.
    An SQLite database is made where there is none. Raises: StoreUnusable, StoreTooNew.
    """
    if not settings.is_postgresql:
        return SQLiteStore(settings.directory)
    require_driver()
    from wxauth_server.store.postgresql import PostgreSQLStore

    url = settings.database_url()
    if connections is not None:
        return PostgreSQLStore(url, connections=connections)
    return PostgreSQLStore(url, connections=COMMAND_CONNECTIONS, patience_s=COMMAND_PATIENCE_S)


def require_driver() -> None:
    """Raises: StoreUnusable when PostgreSQL's driver is missing; it is another extra.

    What needs it is imported after this, and by nobody else: it takes time to load.
    """
    if find_spec("psycopg") is None or find_spec("psycopg_pool") is None:
        raise StoreUnusable(
            "the driver of PostgreSQL is not installed: install wxauth with its extra [postgresql]"
        )


def open_store(
    configuration: Configuration, *, connections: int | None = None
) -> tuple[Store, KeyRing]:
    """The database, as by `open_database`, and the key ring that goes with it.

    Notes in the database which keys are active, so that no server begins without
    them. Raises: KeyRingUnusable, also when a purpose has no active key, when rows
    need a key that the ring lacks or has another secret for; StoreUnusable,
    StoreTooNew, StoreUnavailable.
    """
    _refuse_missing_ring(configuration)
    keyring = load_keyring(configuration.keyring_file)
    try:
        keyring.require_complete()
    except KeyRingUnusable as error:
        raise KeyRingUnusable(f"{configuration.keyring_file}: {error}") from None
    store = open_database(configuration.store, connections=connections)
    try:
        refuse_wrong_keys(store.read(noted_keys), keyring)
        _note_keys(store, keyring)
    except BaseException:
        store.close()
        raise
    return store, keyring


def _refuse_missing_ring(configuration: Configuration) -> None:
    """Raises: KeyRingUnusable where a database was in use with a ring that is gone."""
    if configuration.keyring_file.exists():
        return
    store = configuration.store
    if store.is_postgresql or (store.directory / DATABASE_NAME).exists():
        raise KeyRingUnusable(
            f"{configuration.keyring_file} does not exist, but the database {store.place} does: "
            "put back the key ring that was in use with it, or run wxauth keys init if none was"
        )


def refuse_wrong_keys(needed: list[KeyInUse], keyring: KeyRing) -> None:
    """Raises: KeyRingUnusable when the ring is not the one that the rows need."""
    for purpose, key_id, check_value in needed:
        key = keyring.find(Purpose(purpose), key_id)
        if key is None:
            raise KeyRingUnusable(
                f"the database needs the {purpose} key {key_id}, which the key ring lacks: "
                "put back the key ring that was in use with this database"
            )
        if check_value is not None and check_value != key.check_value:
            raise KeyRingUnusable(
                f"the {purpose} key {key_id} of the key ring is another secret than the one "
                "that was in use with this database: put back the key ring that was"
            )


def _note_keys(store: Store, keyring: KeyRing) -> None:
    """Note the active keys, and the check values that are missing; mostly there is nothing to."""
    known = {(purpose, key_id): check for purpose, key_id, check in store.read(noted_keys)}
    active = [(purpose.value, keyring.active(purpose).id) for purpose in _USED_BY_ROWS]
    missing = [
        key
        for purpose, key_id in {*known, *active}
        if known.get((purpose, key_id)) is None
        and (key := keyring.find(Purpose(purpose), key_id)) is not None
    ]

    def note(tx: Transaction) -> None:
        for key in missing:
            note_key_in_use(tx, key.purpose.value, key.id, check_value=key.check_value)

    if missing:
        store.write(note)
