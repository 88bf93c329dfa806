"""Every object of the server, made by hand from top to bottom."""

from __future__ import annotations

import asyncio
import logging

from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.apps import Apps
from wxauth_server.auth.erase_secrets import SecretEraser
from wxauth_server.auth.exchange_code import CodeExchange
from wxauth_server.auth.last_seen import LastSeen
from wxauth_server.auth.login import LoginFlow
from wxauth_server.auth.logout import LogoutFlow
from wxauth_server.auth.unbind import UnbindFlow
from wxauth_server.auth.user_data import UserDataFlow
from wxauth_server.auth.validate_session import SessionValidator
from wxauth_server.auth.verify_credentials import CredentialVerifier
from wxauth_server.auth.wechat_calls import WeChatCalls
from wxauth_server.clock import Clock, SystemClock
from wxauth_server.config import Configuration
from wxauth_server.errors import AuthError
from wxauth_server.pools import Pools
from wxauth_server.rpc.auth_service import AuthServicer
from wxauth_server.rpc.server import RpcServer
from wxauth_server.rpc.wechat_service import WeChatServicer
from wxauth_server.sealing import Sealer
from wxauth_server.store.opening import open_store
from wxauth_server.store.shared_reads import SharedReads
from wxauth_server.wechat.client import WeChatClient

log = logging.getLogger("wxauth.server")

#: Seconds between two looks at the store (reliability.md section 3).
READINESS_INTERVAL_S = 5.0
# A digest that no session has.
_NO_SESSION = bytes(32)


class Server:
    """The gRPC service with everything under it, on the running event loop."""

    def __init__(self, configuration: Configuration, *, clock: Clock | None = None) -> None:
        """Raises: what `open_store` raises; ConfigurationError."""
        clock = clock or SystemClock()
        apps = Apps(configuration.served_apps())
        self.store, keyring = open_store(configuration)
        self._pools = Pools.create()
        self._wechat = WeChatClient(configuration.wechat.base_url)
        self._reads = SharedReads(self.store)
        self.last_seen = LastSeen(self.store, self._pools.writer)
        hasher = PasswordHasher(keyring, cost=configuration.passwords.bcrypt_cost)
        verifier = CredentialVerifier(self.store, hasher)
        validator = SessionValidator(
            apps=apps, reads=self._reads, last_seen=self.last_seen, clock=clock
        )
        sealer = Sealer(keyring)
        exchange = CodeExchange(
            wechat=self._wechat,
            store=self.store,
            sealer=sealer,
            clock=clock,
            pool=self._pools.wechat,
        )
        wechat_calls = WeChatCalls(self._wechat, self._pools.wechat_calls)
        self._login = LoginFlow(
            apps=apps,
            exchange=exchange,
            verifier=verifier,
            wechat=wechat_calls,
            store=self.store,
            reads=self._reads,
            clock=clock,
            pools=self._pools,
        )
        auth = AuthServicer(
            login=self._login,
            validator=validator,
            unbind=UnbindFlow(
                validator=validator,
                exchange=exchange,
                verifier=verifier,
                store=self.store,
                clock=clock,
                pools=self._pools,
            ),
            logout=LogoutFlow(
                validator=validator,
                store=self.store,
                clock=clock,
                writer_pool=self._pools.writer,
            ),
        )
        user_data = UserDataFlow(
            validator=validator,
            wechat=wechat_calls,
            sealer=sealer,
            store=self.store,
            clock=clock,
            pools=self._pools,
            max_age_s=configuration.wechat.user_data_max_age_s,
        )
        self.eraser = SecretEraser(apps=apps, store=self.store, clock=clock, pools=self._pools)
        self._rpc = RpcServer(auth, WeChatServicer(user_data), configuration.grpc)

    async def start(self) -> int:
        """Serve; the port that is listened on.

        Raises: PortInUse. Then everything is closed again.
        """
        try:
            port = await self._rpc.start()
        except BaseException:
            await self._close()
            raise
        self.last_seen.start()
        self.eraser.start()
        self._readiness = asyncio.create_task(self._watch_store())
        return port

    async def stop(self) -> None:
        """Stop gracefully: callers first, then the work, then the store."""
        self._readiness.cancel()
        await self._rpc.stop()
        await self._login.close()
        await self.eraser.close()
        await self.last_seen.close()
        await self._close()

    async def _watch_store(self) -> None:
        """Be healthy while the store can be read; WeChat's troubles do not count."""
        while True:
            await asyncio.sleep(READINESS_INTERVAL_S)
            try:
                await self._reads.read(_NO_SESSION)
            except AuthError:
                await self._rpc.set_serving(serving=False)
            else:
                await self._rpc.set_serving(serving=True)

    async def _close(self) -> None:
        await self._pools.close()
        await self._reads.close()
        self._wechat.close()
        await asyncio.to_thread(self.store.close)
