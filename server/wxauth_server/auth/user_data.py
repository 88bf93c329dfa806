"""What a live session allows with WeChat's session_key, which never leaves the server."""

from __future__ import annotations

from wxauth_server.auth.refusal_counts import RefusalCounts
from wxauth_server.auth.validate_session import LiveSession, SessionValidator
from wxauth_server.auth.wechat_calls import WeChatCalls
from wxauth_server.clock import Clock
from wxauth_server.deadline import Deadline
from wxauth_server.errors import SessionKeyInvalid
from wxauth_server.pools import Pools
from wxauth_server.sealing import CannotOpen, Content, Sealed, Sealer
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.bindings import find_binding
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.session_keys import replace_session_key
from wxauth_server.wechat import user_data
from wxauth_server.wechat.phone_number import PhoneNumber
from wxauth_server.wechat.user_data import UserData


class UserDataFlow:
    """Acts for the WeChat user of a live session.

    Every method raises what WeChatService lists for it in the contract.
    """

    def __init__(
        self,
        *,
        validator: SessionValidator,
        wechat: WeChatCalls,
        sealer: Sealer,
        refusals: RefusalCounts,
        store: Store,
        clock: Clock,
        pools: Pools,
        max_age_s: int,
    ) -> None:
        self._validator = validator
        self._wechat = wechat
        self._sealer = sealer
        self._refusals = refusals
        self._store = store
        self._clock = clock
        self._pools = pools
        self._max_age_s = max_age_s

    async def decrypt(self, session_id: str, encrypted_data: str, iv: str) -> UserData:
        """Open the encryptedData of the mini-program."""
        live = await self._validator.validate(session_id)
        _, session_key = await self._session_key(live)
        return user_data.decrypt(
            session_key,
            encrypted_data,
            iv,
            app_id=live.record.app_id,
            openid=live.record.openid,
            now_s=self._clock.now_ms() / 1000,
            max_age_s=self._max_age_s,
        )

    async def verify(self, session_id: str, raw_data: str, signature: str) -> None:
        """Check the signature of the mini-program's rawData."""
        live = await self._validator.validate(session_id)
        _, session_key = await self._session_key(live)
        user_data.verify(session_key, raw_data, signature)

    async def phone_number(self, session_id: str, code: str, deadline: Deadline) -> PhoneNumber:
        """The number that the user has just agreed to share; spends the code."""
        live = await self._validator.validate(session_id)
        return await self._wechat.phone_number(live.app, code, deadline)

    async def check_session_key(self, session_id: str, deadline: Deadline) -> None:
        """Return if WeChat still accepts the session_key."""
        live = await self._validator.validate(session_id)
        _, session_key = await self._session_key(live)
        await self._wechat.check_session_key(live.app, live.record.openid, session_key, deadline)

    async def reset_session_key(self, session_id: str, deadline: Deadline) -> None:
        """Have WeChat replace the session_key, and keep the new one."""
        live = await self._validator.validate(session_id)
        app_id, openid = live.record.app_id, live.record.openid
        former, session_key = await self._session_key(live)
        renewed = await self._wechat.reset_session_key(live.app, openid, session_key, deadline)
        sealed = self._sealer.seal(
            Content.SESSION_KEY, app_id=app_id, openid=openid, plaintext=renewed
        )

        now_ms = self._clock.now_ms()

        def transaction(tx: Transaction) -> None:
            # Not over the newer one of a login that came in between.
            replace_session_key(
                tx,
                app_id,
                openid,
                former=former.ciphertext,
                session_key=sealed.ciphertext,
                session_key_id=sealed.key_id,
                now_ms=now_ms,
            )
            record_event(
                tx,
                Event.SESSION_KEY_RESET,
                now_ms=now_ms,
                app_id=app_id,
                openid=openid,
                account=live.record.account,
                session_handle=live.record.handle,
            )

        await self._pools.writer.run(self._store.write, transaction)

    async def _session_key(self, live: LiveSession) -> tuple[Sealed, str]:
        """The session_key of a session's WeChat user, sealed and open.

        Raises: SessionKeyInvalid, StoreUnavailable, Overloaded.
        """
        session = live.record
        binding = await self._pools.readers.run(
            self._store.read, lambda tx: find_binding(tx, session.app_id, session.openid)
        )
        if binding is None or binding.account != session.account or not binding.session_key:
            raise SessionKeyInvalid
        sealed = Sealed(binding.session_key_id or "", binding.session_key)
        try:
            opened = self._sealer.open(
                Content.SESSION_KEY, app_id=session.app_id, openid=session.openid, sealed=sealed
            )
        except CannotOpen:
            # Counted, since a user can ask for this again and again.
            self._refusals.note(
                Event.SESSION_KEY_UNREADABLE,
                reason=SessionKeyInvalid.reason_name(),
                app_id=session.app_id,
                openid=session.openid,
            )
            # The next login stores another one.
            raise SessionKeyInvalid from None
        return sealed, opened
