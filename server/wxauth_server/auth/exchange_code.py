"""Step 3: the code from wx.login becomes a WeChat user, once.

A code works once, and the answer to a login can be lost. So what WeChat said
about a code is kept for five minutes, under digests of the code and of the
caller's request_id: who comes again with both goes on where the first attempt
stopped (design.md section 4, step 2). A process that exchanged the code itself
does not ask WeChat again; another one does, in vain, and then looks.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from wxauth_server.apps import App
from wxauth_server.auth.recent import Recent
from wxauth_server.clock import Clock
from wxauth_server.deadline import Deadline
from wxauth_server.errors import AuthError, CodeInvalid, CodeUsed, WeChatUnavailable
from wxauth_server.pools import BoundedPool
from wxauth_server.sealing import Content, Sealer
from wxauth_server.store import session_keys
from wxauth_server.store.exchanges import (
    ExchangeRecord,
    find_exchange,
    insert_exchange,
    settle_exchange,
)
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.wechat.client import WeChatClient

#: What the developer tool gives without an AppId. Several projects left it in
#: as a back door; it is refused here, whatever WeChat or a sandbox would say.
MOCK_CODE = "the code is a mock one"

#: How long the same request may go on after WeChat's answer.
RETRY_WITHIN_MS = 60_000

#: The client ends within 2.8 s by itself, but for the resolver, which knows no
#: timeout. A login answers within 3 s when WeChat stalls (reliability.md row 11).
_PATIENCE_S = 2.9

#: Exchanges of the last 60 s that are remembered, about 200 bytes each: a
#: thousand a second. For one that is forgotten WeChat is asked again, in vain.
_MOST_RECENT = 60_000

_SALT_BYTES = 32

T = TypeVar("T")
#: AppId and digest of a code.
_Key: TypeAlias = tuple[str, bytes]


#: `ExchangeRecord.settled` of a login that ended with a session; a verdict has
#: the name of its reason there.
LOGGED_IN = "LOGGED_IN"
BOUND_AND_LOGGED_IN = "BOUND_AND_LOGGED_IN"


class CodeReplayed(CodeUsed):
    """Somebody else than the first caller came with a code. `openid` is whose it is."""

    def __init__(self, openid: str | None) -> None:
        super().__init__()
        self.openid = openid


@dataclass(frozen=True)
class Exchange:
    """What WeChat said about a code, and whether the store has it already."""

    record: ExchangeRecord
    stored: bool


class CodeExchange:
    """Asks WeChat who a code belongs to, in the pool for that."""

    def __init__(
        self, *, wechat: WeChatClient, store: Store, sealer: Sealer, clock: Clock, pool: BoundedPool
    ) -> None:
        self._wechat = wechat
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._pool = pool
        # The codes that were exchanged here of late, so that the store is read for
        # those that come again only. What is not stored yet lies here itself: when
        # the store fails, a retry can still go on.
        self._recent: Recent[_Key, ExchangeRecord | None] = Recent(
            keep_ms=RETRY_WITHIN_MS, most=_MOST_RECENT
        )

    async def ask(self, app: App, code: str, deadline: Deadline) -> ExchangeRecord:
        """What WeChat says about a code, which is spent by this.

        Raises: CodeInvalid, CodeUsed, WeChatUserBlocked, WeChatRateLimited,
        WeChatUnavailable, WeChatMisconfigured, DeadlineTooShort, Overloaded.
        """
        return await self._run(lambda: self._ask(app, code, "", deadline), code)

    async def exchange(self, app: App, code: str, request_id: str, deadline: Deadline) -> Exchange:
        """The same for a login, which the caller may repeat with the same `request_id`.

        Raises: what `ask` raises, of which CodeReplayed for a code that another
        caller has spent here, and CodeUsed for a login that has ended or whose
        time is up; StoreUnavailable.
        """
        return await self._run(lambda: self._exchange(app, code, request_id, deadline), code)

    def note_stored(self, exchange: Exchange) -> None:
        """From now on the store has it: no need to keep it here."""
        self._recent.replace((exchange.record.app_id, exchange.record.code_digest), None)

    async def _run(self, job: Callable[[], T], code: str) -> T:
        if code == MOCK_CODE:
            raise CodeInvalid
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await self._pool.run(job)
        except TimeoutError:
            raise WeChatUnavailable from None

    def _exchange(self, app: App, code: str, request_id: str, deadline: Deadline) -> Exchange:
        key = (app.app_id, _digest(code))
        known = self._find(key) if key in self._recent else None
        if known is None:
            try:
                record = self._ask(app, code, request_id, deadline)
            except AuthError:
                # It was used, by this very request perhaps: at another server, before a
                # restart, or a moment ago. Whatever WeChat says, the row knows better.
                known = self._find(key)
                if known is None:
                    raise
            else:
                self._recent.put(key, record, now_ms=record.exchanged_at)
                return Exchange(record, stored=False)
        self._refuse_others(known.record, request_id)
        return known

    def _ask(self, app: App, code: str, request_id: str, deadline: Deadline) -> ExchangeRecord:
        person = self._wechat.code_to_session(app.app_id, app.secret, code, deadline)
        sealed = self._sealer.seal(
            Content.SESSION_KEY,
            app_id=app.app_id,
            openid=person.openid,
            plaintext=person.session_key,
        )
        return ExchangeRecord(
            app_id=app.app_id,
            code_digest=_digest(code),
            request_digest=_digest(request_id) if request_id else None,
            openid=person.openid,
            unionid=person.unionid or None,
            session_key=sealed.ciphertext,
            session_key_id=sealed.key_id,
            salt=secrets.token_bytes(_SALT_BYTES),
            exchanged_at=self._clock.now_ms(),
            settled=None,
        )

    def _find(self, key: _Key) -> Exchange | None:
        record = self._store.read(lambda tx: find_exchange(tx, *key))
        if record is not None:
            return Exchange(record, stored=True)
        unstored = self._recent.get(key)
        return Exchange(unstored, stored=False) if unstored else None

    def _refuse_others(self, record: ExchangeRecord, request_id: str) -> None:
        if record.request_digest is None or not hmac.compare_digest(
            record.request_digest, _digest(request_id)
        ):
            raise CodeReplayed(record.openid)
        passed_ms = self._clock.now_ms() - record.exchanged_at
        verdict = record.settled not in {None, LOGGED_IN, BOUND_AND_LOGGED_IN}
        if verdict or passed_ms > RETRY_WITHIN_MS:
            raise CodeUsed


def store_exchange(tx: Transaction, exchange: Exchange, *, settled: str | None) -> bool:
    """Store the exchange and what became of it; False if that was said before.

    What is settled needs no session_key any more.
    """
    record = exchange.record
    if not exchange.stored:
        if settled is not None:
            record = record._replace(settled=settled, session_key=None, session_key_id=None)
        return insert_exchange(tx, record)
    return settled is None or settle_exchange(tx, record.app_id, record.code_digest, settled)


def renew_session_key(tx: Transaction, record: ExchangeRecord) -> None:
    """Keep the session_key of a code that gave no session, for the sessions that there are."""
    session_keys.renew_session_key(
        tx,
        record.app_id,
        record.openid,
        session_key=record.session_key,
        session_key_id=record.session_key_id,
        session_key_at=record.exchanged_at,
    )


def _digest(text: str) -> bytes:
    # Both are random texts of 128 bits and more: nobody guesses them back.
    return hashlib.sha256(text.encode()).digest()
