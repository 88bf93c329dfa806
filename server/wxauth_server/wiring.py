"""Every object of the server, made by hand from top to bottom."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from wxauth_client.file_watch import FileWatch
from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.accounts.passwords.hashes_in_pool import HashesInPool
from wxauth_server.accounts.sources.opening import close_sources, open_sources
from wxauth_server.accounts.throttle import NameDigests
from wxauth_server.admin_token import server_token
from wxauth_server.apps import Apps
from wxauth_server.auth.delete_account import DeleteAccountFlow
from wxauth_server.auth.erase_secrets import SecretEraser
from wxauth_server.auth.exchange_code import CodeExchange
from wxauth_server.auth.last_seen import LastSeen
from wxauth_server.auth.login import LoginFlow
from wxauth_server.auth.login_limits import LoginGate
from wxauth_server.auth.logout import LogoutFlow
from wxauth_server.auth.own_sessions import OwnSessions
from wxauth_server.auth.prove_owner import OwnerProof
from wxauth_server.auth.pseudonyms import Pseudonyms
from wxauth_server.auth.purge import Purger
from wxauth_server.auth.refusal_counts import RefusalCounts
from wxauth_server.auth.remembered_answers import RememberedAnswers, answer_cache
from wxauth_server.auth.tell_deletions import DeletionTeller
from wxauth_server.auth.unbind import UnbindFlow
from wxauth_server.auth.user_data import UserDataFlow
from wxauth_server.auth.validate_session import SessionValidator
from wxauth_server.auth.validate_sessions import Validations
from wxauth_server.auth.verify_credentials import CredentialVerifier
from wxauth_server.auth.wechat_calls import WeChatCalls
from wxauth_server.callers.watching import follow, watch_callers, watch_server_certificates
from wxauth_server.clock import Clock, SystemClock
from wxauth_server.config import Configuration
from wxauth_server.errors import AuthError
from wxauth_server.logs import trace_without_text
from wxauth_server.pools import Pools
from wxauth_server.revocations.log_reader import RevocationLogReader
from wxauth_server.revocations.telling_store import TellingStore
from wxauth_server.rpc.admin_calls import AdminCalls
from wxauth_server.rpc.admin_service import AdminServicer
from wxauth_server.rpc.auth_service import AuthServicer
from wxauth_server.rpc.callers import Callers
from wxauth_server.rpc.live_sessions import serialize_live_session
from wxauth_server.rpc.server import RpcServer
from wxauth_server.rpc.wechat_service import WeChatServicer
from wxauth_server.sealing import Sealer
from wxauth_server.store.audit import Actor
from wxauth_server.store.interface import Store
from wxauth_server.store.opening import open_store
from wxauth_server.store.shared_reads import SharedReads
from wxauth_server.wechat.client import WeChatClient

log = logging.getLogger("wxauth.server")

#: Seconds between two looks at the store (reliability.md section 3).
READINESS_INTERVAL_S = 5.0
#: The same while it cannot be read: callers that watch the health come back as soon.
UNREADY_INTERVAL_S = 1.0
# A digest that no session has.
_NO_SESSION = bytes(32)


class Server:
    """The gRPC service with everything under it, on the running event loop."""

    def __init__(self, configuration: Configuration, *, clock: Clock | None = None) -> None:
        """Raises: what `open_store` raises; ConfigurationError, FileUnusable."""
        clock = clock or SystemClock()
        self._callers = watch_callers(configuration)
        self._certificates = watch_server_certificates(configuration)
        apps = Apps(configuration.served_apps())
        store, keyring = open_store(configuration, connections=configuration.store.connections)
        self._revocations = RevocationLogReader(store)
        cached_sessions = configuration.session_cache.sessions
        cache = answer_cache(cached_sessions) if cached_sessions else None
        self.store: Store = store if cache is None else TellingStore(store, cache)
        self._pools = Pools.create(writers=configuration.store.writers)
        self._wechat = WeChatClient(configuration.wechat.base_url)
        self._reads = SharedReads(self.store)
        self.last_seen = LastSeen(self.store, self._pools.writer)
        hasher = PasswordHasher(keyring, cost=configuration.passwords.bcrypt_cost)
        self._sources = open_sources(
            configuration.account_sources, store=self.store, hasher=hasher, pools=self._pools
        )
        names = NameDigests(keyring)
        verifier = CredentialVerifier(
            self._sources,
            names=names,
            limits=configuration.throttle.of_passwords(),
            store=self.store,
            pools=self._pools,
            clock=clock,
        )
        self.refusals = RefusalCounts(self.store, self._pools.writer, clock)
        validator = SessionValidator(
            apps=apps, reads=self._reads, last_seen=self.last_seen, clock=clock
        )
        remembered = None
        if cache is not None:
            remembered = RememberedAnswers(
                cache, self._revocations.follow(), clock, serialize_live_session
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
            gate=LoginGate(configuration.throttle.of_logins(), time.monotonic),
            exchange=exchange,
            verifier=verifier,
            wechat=wechat_calls,
            refusals=self.refusals,
            store=self.store,
            reads=self._reads,
            clock=clock,
            pools=self._pools,
        )
        self._owner = OwnerProof(
            exchange=exchange,
            verifier=verifier,
            refusals=self.refusals,
            store=self.store,
            clock=clock,
            writer_pool=self._pools.writer,
        )
        self.teller = DeletionTeller(
            sources=self._sources, store=self.store, clock=clock, pools=self._pools
        )
        pseudonyms = Pseudonyms(keyring)
        auth = AuthServicer(
            login=self._login,
            validations=Validations(validator, serialize_live_session, remembered),
            unbind=UnbindFlow(validator=validator, owner=self._owner),
            logout=LogoutFlow(
                validator=validator,
                store=self.store,
                clock=clock,
                writer_pool=self._pools.writer,
            ),
            own_sessions=OwnSessions(
                validator=validator, store=self.store, clock=clock, pools=self._pools
            ),
            delete_account=DeleteAccountFlow(
                apps=apps,
                validator=validator,
                owner=self._owner,
                names=names,
                pseudonyms=pseudonyms,
                on_deleted=self.teller.wake,
            ),
        )
        user_data = UserDataFlow(
            validator=validator,
            wechat=wechat_calls,
            sealer=sealer,
            refusals=self.refusals,
            store=self.store,
            clock=clock,
            pools=self._pools,
            max_age_s=configuration.wechat.user_data_max_age_s,
        )
        self.eraser = SecretEraser(apps=apps, store=self.store, clock=clock, pools=self._pools)
        self.purger = Purger(
            apps=apps,
            pseudonyms=pseudonyms,
            store=self.store,
            clock=clock,
            pools=self._pools,
            audit_kept_ms=configuration.audit.kept_ms,
        )
        admin = AdminCalls(
            configuration,
            store=self.store,
            keyring=keyring,
            hasher=HashesInPool(hasher, self._pools.passwords),
            clock=clock,
            actor=Actor.ADMIN,
        )
        callers = Callers(
            server_token(configuration.store.directory),
            self._callers,
            clock,
            required=configuration.grpc.callers_required,
        )
        self._rpc = RpcServer(
            auth,
            WeChatServicer(user_data),
            configuration.grpc,
            admin=AdminServicer(admin, self._pools.admin, callers),
            callers=callers,
            certificates=self._certificates,
        )

    @property
    def caller_count(self) -> int:
        """How many callers the file names, as of the last look."""
        return len(self._callers.value.callers)

    async def start(self) -> int:
        """Serve; the port that is listened on.

        Raises: PortInUse. Then everything is closed again.
        """
        try:
            port = await self._rpc.start()
        except BaseException:
            await self._close()
            raise
        self._revocations.start()
        self.last_seen.start()
        self.refusals.start()
        self.eraser.start()
        self.purger.start()
        self.teller.start()
        watches: list[FileWatch[Any]] = [self._callers]
        if self._certificates is not None:
            watches.append(self._certificates)
        self._readiness = asyncio.create_task(self._watch_store())
        self._file_looks = asyncio.create_task(follow(watches))
        return port

    async def stop(self) -> None:
        """Stop gracefully: callers first, then the work, then the store."""
        self._readiness.cancel()
        self._file_looks.cancel()
        await self._rpc.stop()
        await self._login.close()
        await self._owner.close()
        await self.teller.close()
        await self.purger.close()
        await self.eraser.close()
        await self.refusals.close()
        await self.last_seen.close()
        await self._revocations.close()
        await self._close()

    async def _watch_store(self) -> None:
        """Be healthy while the store can be read; WeChat's troubles do not count."""
        serving = True
        while True:
            await asyncio.sleep(READINESS_INTERVAL_S if serving else UNREADY_INTERVAL_S)
            serving = True
            try:
                await self._reads.read(_NO_SESSION)
            except AuthError:
                serving = False
            except Exception as error:  # noqa: BLE001 - of ours; the watch goes on
                trace = trace_without_text(error)
                log.error("internal error", extra={"trace": trace})  # noqa: TRY400 - no text
                serving = False
            await self._rpc.set_serving(serving=serving)

    async def _close(self) -> None:
        await close_sources(self._sources)
        await self._pools.close()
        await self._reads.close()
        self._wechat.close()
        await asyncio.to_thread(self.store.close)
