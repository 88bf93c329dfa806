"""`wxauth keys`: the key ring, which protects the database and is kept outside of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.text import Text

from wxauth_server.cli.options import (
    AsJson,
    ConfigFile,
    DataDirectory,
    database_exists,
    existing_store,
    load,
)
from wxauth_server.cli.output import CommandFailed, console, print_json, print_table
from wxauth_server.config import Configuration
from wxauth_server.key_rotation import StillNeeded, count_rows, release
from wxauth_server.keyring import (
    Key,
    KeyRing,
    Purpose,
    State,
    changing_keyring,
    create_keyring,
    load_keyring,
)
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.keys import count_sealed, forget_key, keys_in_use, seal_keys_of_rows

#: The end of each command's help: who reads one of them is about to do them all.
_ROTATION = """
A rotation, in this order: (1) wxauth keys add PURPOSE; (2) copy the key ring to
every server that shares the database; (3) wxauth keys activate ID, copy the key
ring again and restart every server; (4) wxauth keys retire ID of the former key.
Sessions go on all the while.
"""

app = typer.Typer(
    help="The key ring that protects the database.", epilog=_ROTATION, no_args_is_help=True
)

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id.", show_default=False)]

_STYLES = {State.NEW.value: "cyan", State.ACTIVE.value: "green", State.OLD.value: "dim"}
#: A key that rows need and the ring lacks.
_MISSING = "missing"


@app.command(epilog=_ROTATION)
def init(config: ConfigFile = None, data: DataDirectory = None) -> None:
    """Make the key ring, before the first start.

    Refused when there is one, and when the database was in use with another
    one: its passwords could never be checked again. Keep a copy of the file,
    apart from the copies of the database.
    """
    configuration = load(config, data)
    file = configuration.keyring_file
    if file.exists():
        raise CommandFailed(f"{file} exists already and is left as it is")
    _refuse_other_ring(configuration)
    create_keyring(file)
    _make_data_directory(configuration)
    _say(f"Made {file}. Keep a copy of it in a safe place.")


@app.command(epilog=_ROTATION)
def add(
    purpose: Annotated[
        Purpose,
        typer.Argument(
            metavar="PURPOSE",
            help="What the key is for: pepper (passwords), seal (session_keys) or digest.",
            show_default=False,
        ),
    ],
    activate_now: Annotated[
        bool,
        typer.Option(
            "--activate",
            help="Use it from the next start on. Only where no other server shares the database, "
            "or for the first key of its purpose.",
        ),
    ] = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
) -> None:
    """Add a new key to the key ring: the first step of a rotation.

    It protects nothing until it is activated, so that every server can be given
    it first.
    """
    configuration = load(config, data)
    key = Key.create(purpose, State.ACTIVE if activate_now else State.NEW)
    with changing_keyring(configuration.keyring_file) as file:
        file.replace(file.ring.with_key(key))
    _say(f"Added the {purpose} key {key.id} to {configuration.keyring_file}.")
    if activate_now:
        _say("It is active from the next start of the server on. Copy the key ring anew.")
    else:
        _say(f"Copy the key ring to every server, then run wxauth keys activate {key.id}.")


@app.command(epilog=_ROTATION)
def activate(key_id: KeyId, config: ConfigFile = None, data: DataDirectory = None) -> None:
    """Protect what is new with this key: the third step of a rotation.

    Servers do so from their next start on. What the former active key protects
    still opens. Every server must have the key before the first one uses it.
    """
    configuration = load(config, data)
    with changing_keyring(configuration.keyring_file) as file:
        key = _find(file.ring, key_id)
        if key.state is State.ACTIVE:
            _say(f"{key.id} is the active {key.purpose} key already.")
            return
        former = [each for each in file.ring if _is_active(each, key.purpose)]
        file.replace(file.ring.with_active(key))
    _say(f"{key.id} is the active {key.purpose} key from the next start of the server on.")
    if former:
        _say(
            "Give every server this key ring and restart it; "
            f"then run wxauth keys retire {former[0].id}."
        )


@app.command(epilog=_ROTATION)
def retire(key_id: KeyId, config: ConfigFile = None, data: DataDirectory = None) -> None:
    """Remove a key from the key ring: the last step of a rotation.

    What a seal key protects is sealed anew with the active one before; that may
    run beside the server and can be repeated when it was interrupted. A pepper
    cannot be replaced without the passwords: it is refused while accounts need
    it. An active key is always refused.
    """
    configuration = load(config, data)
    with changing_keyring(configuration.keyring_file) as file:
        key = _find(file.ring, key_id)
        # Even for a key that was never active: only the database knows.
        with existing_store(configuration) as store, _progress(store, key) as progress:
            try:
                done = release(store, file.ring, key, progress=progress)
            except StillNeeded as reason:
                raise CommandFailed(str(reason)) from None
        file.replace(file.ring.without(key))
    if done.sealed:
        _say(f"{_count(done.sealed, 'session_key')} sealed anew.")
    if done.erased:
        _say(
            f"{_count(done.erased, 'session_key')} erased that did not open: somebody changed "
            "the database. Their users need a new login for what WeChat encrypts."
        )
    _say(f"Retired the {key.purpose} key {key.id}. Copy the key ring to every server.")


@app.command("list", epilog=_ROTATION)
def list_keys(
    config: ConfigFile = None, data: DataDirectory = None, as_json: AsJson = False
) -> None:
    """List the keys: their ids are public, their secrets are not shown.

    ROWS is how many accounts or session_keys need the key, where there is a
    database. A key of the state "missing" is needed and not in the key ring.
    """
    configuration = load(config, data)
    keys = [
        (k.purpose.value, k.id, k.state.value) for k in load_keyring(configuration.keyring_file)
    ]
    rows: dict[str, int] = {}
    if database_exists(configuration):
        with existing_store(configuration) as store:
            needed = store.read(keys_in_use)
            needed += [
                (Purpose.SEAL.value, key_id)
                for key_id in store.read(seal_keys_of_rows)
                if (Purpose.SEAL.value, key_id) not in needed
            ]
            ids = {key_id for _, key_id, _ in keys}
            keys += [(purpose, id_, _MISSING) for purpose, id_ in needed if id_ not in ids]
            rows = store.read(lambda tx: {i: count_rows(tx, Purpose(p), i) for p, i, _ in keys})
    if as_json:
        print_json(
            {"purpose": purpose, "id": key_id, "state": state, "rows": rows.get(key_id)}
            for purpose, key_id, state in keys
        )
    else:
        print_table(
            ("ID", "PURPOSE", "STATE", "ROWS"),
            (
                (key_id, purpose, Text(state, _STYLES.get(state, "red")), str(rows.get(key_id, "")))
                for purpose, key_id, state in keys
            ),
        )


def _find(ring: KeyRing, key_id: str) -> Key:
    for key in ring:
        if key.id == key_id:
            return key
    raise CommandFailed(f"the key ring has no key {key_id!r}: wxauth keys list shows those it has")


def _is_active(key: Key, purpose: Purpose) -> bool:
    return key.purpose is purpose and key.state is State.ACTIVE


@contextlib.contextmanager
def _progress(store: Store, key: Key) -> Iterator[Callable[[int], object]]:
    """What is told how many more session_keys were seen to; shows it on a terminal."""
    err = Console(stderr=True)
    total = store.read(lambda tx: count_sealed(tx, key.id)) if key.purpose is Purpose.SEAL else 0
    if not (total and err.is_terminal):
        yield lambda _: None
        return
    with Progress(console=err, transient=True) as bar:
        task = bar.add_task("Sealing session_keys anew", total=total)
        yield lambda more: bar.advance(task, more)


def _refuse_other_ring(configuration: Configuration) -> None:
    """Raises: CommandFailed when rows need keys. What is noted without rows is forgotten."""
    if not database_exists(configuration):
        return

    def needed(tx: Transaction) -> list[str]:
        noted = [(Purpose(purpose), key_id) for purpose, key_id in keys_in_use(tx)]
        found = [f"{i} ({purpose})" for purpose, i in noted if count_rows(tx, purpose, i)]
        if not found:
            for purpose, key_id in noted:
                forget_key(tx, purpose, key_id)
        return found

    with existing_store(configuration) as store:
        keys = store.write(needed)
    if keys:
        raise CommandFailed(
            f"the database {configuration.store.place} needs the keys {', '.join(keys)}: "
            "put back the key ring that was in use with it"
        )


def _make_data_directory(configuration: Configuration) -> None:
    # With the ring elsewhere it is not there yet, and `accounts add` wants it.
    try:
        configuration.store.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailed(
            f"the data directory {configuration.store.directory} cannot be made: {error.strerror}"
        ) from None


def _count(number: int, what: str) -> str:
    return f"{number} {what}{' was' if number == 1 else 's were'}"


def _say(sentence: str) -> None:
    console().print(sentence, soft_wrap=True)
