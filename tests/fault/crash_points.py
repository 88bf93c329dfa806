"""The steps of a login at which a server can be told to die, as `kill -9` would have it.

Each one replaces what `wxauth_server.wiring` puts together, in a process of its
own, and kills that process in the first login that comes by.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import bcrypt

from tests.fault.unprotected import replace
from wxauth_server import wiring
from wxauth_server.accounts.sources.source import VerifiedAccount
from wxauth_server.accounts.throttle import Guess
from wxauth_server.auth import finish_login, start_session
from wxauth_server.auth.bind_account import Bound
from wxauth_server.auth.exchange_code import Exchange, store_exchange
from wxauth_server.auth.verify_credentials import CredentialVerifier
from wxauth_server.deadline import Deadline
from wxauth_server.store import opening
from wxauth_server.store.interface import Transaction
from wxauth_server.store.sessions import insert_session
from wxauth_server.store.sqlite import SQLiteStore, SQLiteTransaction
from wxauth_server.wechat.client import WeChatClient, WeChatUser

T = TypeVar("T")

BEFORE_WECHAT = "before WeChat is asked"
AFTER_WECHAT = "WeChat has answered, nothing is stored"
EXCHANGE_STORED = "the exchange row is stored, the password is not looked at"
IN_BCRYPT = "bcrypt is at work"
AFTER_BCRYPT = "the password is verified, the transaction has not begun"
SESSION_INSERTED = "the session is inserted, its transaction goes on"
BEFORE_COMMIT = "every row is written, nothing is committed"
COMMITTED = "committed, not answered"


def crash_at(point: str) -> None:
    """Have this process die in the first login that comes to this point."""
    points: dict[str, Callable[[], None]] = {
        BEFORE_WECHAT: _before_wechat,
        AFTER_WECHAT: _after_wechat,
        EXCHANGE_STORED: _exchange_stored,
        IN_BCRYPT: _in_bcrypt,
        AFTER_BCRYPT: _after_bcrypt,
        SESSION_INSERTED: _session_inserted,
        BEFORE_COMMIT: _before_commit,
        COMMITTED: _committed,
    }
    points[point]()


def _die(*_arguments: object, **_named: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("not reached")


def _before_wechat() -> None:
    replace(WeChatClient, "code_to_session", _die)


def _after_wechat() -> None:
    class DiesOfTheAnswer(WeChatClient):
        def code_to_session(
            self, app_id: str, app_secret: str, code: str, deadline: Deadline
        ) -> WeChatUser:
            super().code_to_session(app_id, app_secret, code, deadline)
            _die()

    replace(wiring, "WeChatClient", DiesOfTheAnswer)


def _exchange_stored() -> None:
    replace(CredentialVerifier, "verify", _die)


def _in_bcrypt() -> None:
    replace(bcrypt, "checkpw", _die)


def _after_bcrypt() -> None:
    class DiesOfTheResult(CredentialVerifier):
        async def verify(
            self, source: str, guess: Guess, username: str, password: str, deadline: Deadline
        ) -> VerifiedAccount:
            await super().verify(source, guess, username, password, deadline)
            _die()

    replace(wiring, "CredentialVerifier", DiesOfTheResult)


def _session_inserted() -> None:
    def insert_and_die(tx: Transaction, *arguments: Any, **named: Any) -> bool:
        assert insert_session(tx, *arguments, **named)
        _die()

    replace(start_session, "insert_session", insert_and_die)


def _before_commit() -> None:
    def store_and_die(tx: Transaction, exchange: Exchange, *, settled: str | None) -> bool:
        stored = store_exchange(tx, exchange, settled=settled)
        if settled is not None:
            _die()
        return stored

    replace(finish_login, "store_exchange", store_and_die)


def _committed() -> None:
    class DiesOfTheCommit(SQLiteStore):
        def write(self, work: Callable[[SQLiteTransaction], T]) -> T:
            result = super().write(work)
            if isinstance(result, Bound):
                _die()
            return result

    replace(opening, "SQLiteStore", DiesOfTheCommit)
