"""The end of a key: what it protects is protected anew, then nothing needs it.

The order of a rotation is add, distribute, activate, restart every server,
retire. Only the last step changes the database, and only here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from wxauth_server.keyring import Key, KeyRing, Purpose, State
from wxauth_server.sealing import CannotOpen, Content, Sealed, Sealer
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.keys import (
    SealedRow,
    count_peppered,
    count_sealed,
    forget_key,
    noted_keys,
    replace_sealed,
    sealed_bindings,
    sealed_exchanges,
)
from wxauth_server.store.opening import refuse_wrong_keys

#: Rows of one transaction: the one writer is held for some 10 ms, so that logins go on.
BATCH = 500


class StillNeeded(Exception):
    """The key cannot be retired. The text says why and what to do."""


@dataclass
class SealedAnew:
    """What became of the sealed values of a key that was retired."""

    #: Sealed with the active key now.
    sealed: int = 0
    #: Did not open, so that nobody could have used them any more; erased.
    erased: int = 0


class _Listing(Protocol):
    def __call__(
        self, tx: Transaction, key_id: str, *, after: SealedRow | None, limit: int
    ) -> list[SealedRow]: ...


def count_rows(tx: Transaction, purpose: Purpose, key_id: str) -> int:
    """How many rows need a key: accounts of a pepper, session_keys of a seal key."""
    match purpose:
        case Purpose.PEPPER:
            return count_peppered(tx, key_id)
        case Purpose.SEAL:
            return count_sealed(tx, key_id)
        case Purpose.DIGEST:
            return 0


def release(
    store: Store, keyring: KeyRing, key: Key, *, progress: Callable[[int], object]
) -> SealedAnew:
    """See to it that no row needs a key, so that it can leave the key ring.

    `progress` is told how many more session_keys were seen to. Safe to repeat
    after an interruption. Raises: StillNeeded for an active key, for a pepper
    that accounts need, and before the database was in use with the key that
    takes its place; KeyRingUnusable when the ring is not the one of this
    database; StoreUnavailable.
    """
    if key.state is State.ACTIVE:
        raise StillNeeded(
            f"{key.id} is the active {key.purpose} key: add another one and activate it first"
        )
    noted = store.read(noted_keys)
    refuse_wrong_keys(noted, keyring)
    successor = keyring.active(key.purpose)
    in_use = {(purpose, key_id) for purpose, key_id, _ in noted}
    if key.purpose is not Purpose.DIGEST and (key.purpose, successor.id) not in in_use:
        raise StillNeeded(
            f"no server has run on this database with the active {key.purpose} key "
            f"{successor.id} yet: give every server this key ring and restart it first"
        )
    done = SealedAnew()
    if key.purpose is Purpose.SEAL:
        done = _seal_anew(store, Sealer(keyring), key.id, progress)
    store.write(lambda tx: _forget(tx, key))
    return done


def _forget(tx: Transaction, key: Key) -> None:
    count = count_rows(tx, key.purpose, key.id)
    if not count:
        forget_key(tx, key.purpose, key.id)
        return
    if key.purpose is Purpose.PEPPER:
        raise StillNeeded(
            f"the passwords of {count} account{'' if count == 1 else 's'} need {key.id}: each is "
            "hashed anew when its user logs in with it, or when it is set with "
            "wxauth accounts set-password"
        )
    raise StillNeeded(
        f"{count} session_key{'' if count == 1 else 's'} came to need {key.id} meanwhile: a "
        "server still runs with the former key ring; restart it and retire the key again"
    )


def _seal_anew(
    store: Store, sealer: Sealer, key_id: str, progress: Callable[[int], object]
) -> SealedAnew:
    done = SealedAnew()
    listings: tuple[_Listing, ...] = (sealed_bindings, sealed_exchanges)
    for listing in listings:
        last: SealedRow | None = None
        while rows := _next_rows(store, listing, key_id, last):
            anew = [(row, _reseal(sealer, row, key_id)) for row in rows]
            replaced = _replace(store, anew, key_id)
            done.sealed += replaced.sealed
            done.erased += replaced.erased
            progress(len(rows))
            last = rows[-1]
    return done


def _next_rows(
    store: Store, listing: _Listing, key_id: str, last: SealedRow | None
) -> list[SealedRow]:
    return store.read(lambda tx: listing(tx, key_id, after=last, limit=BATCH))


def _reseal(sealer: Sealer, row: SealedRow, key_id: str) -> Sealed | None:
    """The row's session_key under the active key, or None if it does not open."""
    sealed = Sealed(key_id, row.ciphertext)
    try:
        session_key = sealer.open(
            Content.SESSION_KEY, app_id=row.app_id, openid=row.openid, sealed=sealed
        )
    except CannotOpen:
        return None
    return sealer.seal(
        Content.SESSION_KEY, app_id=row.app_id, openid=row.openid, plaintext=session_key
    )


def _replace(store: Store, anew: list[tuple[SealedRow, Sealed | None]], key_id: str) -> SealedAnew:
    def transaction(tx: Transaction) -> SealedAnew:
        done = SealedAnew()
        for row, sealed in anew:
            if replace_sealed(tx, row, key_id, new=sealed):
                if sealed is None:
                    done.erased += 1
                else:
                    done.sealed += 1
        return done

    return store.write(transaction)
