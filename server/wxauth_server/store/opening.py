"""Opening the database together with the key ring that its rows need."""

from __future__ import annotations

from wxauth_server.config import Configuration
from wxauth_server.keyring import KeyRing, KeyRingUnusable, Purpose, load_keyring
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.keys import KeyInUse, note_key_in_use, noted_keys
from wxauth_server.store.sqlite import DATABASE_NAME, SQLiteStore

#: What rows are read with. What `digest` keys make is never read back.
_USED_BY_ROWS = (Purpose.PEPPER, Purpose.SEAL)


def open_store(configuration: Configuration) -> tuple[SQLiteStore, KeyRing]:
    """The database and the key ring that goes with it.

    Notes in the database which keys are active, so that no server begins without
    them. Raises: KeyRingUnusable, also when a purpose has no active key, when rows
    need a key that the ring lacks or has another secret for; StoreUnusable,
    StoreTooNew, StoreUnavailable.
    """
    database = configuration.store.directory / DATABASE_NAME
    if not configuration.keyring_file.exists() and database.exists():
        raise KeyRingUnusable(
            f"{configuration.keyring_file} does not exist, but the database {database} does: "
            "put back the key ring that was in use with it, or run wxauth keys init if none was"
        )
    keyring = load_keyring(configuration.keyring_file)
    try:
        keyring.require_complete()
    except KeyRingUnusable as error:
        raise KeyRingUnusable(f"{configuration.keyring_file}: {error}") from None
    store = SQLiteStore(configuration.store.directory)
    try:
        refuse_wrong_keys(store.read(noted_keys), keyring)
        _note_keys(store, keyring)
    except BaseException:
        store.close()
        raise
    return store, keyring


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
