"""The server as a process of its own: `python -m tests.fault.server_process OPTIONS`.

OPTIONS is `ServerOptions` in JSON. Prints its port; ends gracefully when its
standard input does, after one more line of JSON: what it watched.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import bcrypt
import uvloop

from tests.fault.crash_points import crash_at
from tests.fault.seeded_store import store_table
from tests.fault.unprotected import replace, without_protection
from wxauth_server import wiring
from wxauth_server.accounts.passwords import BCRYPT_COST
from wxauth_server.config import load_configuration
from wxauth_server.deadline import Deadline
from wxauth_server.logs import set_up_logs
from wxauth_server.pools import Pools
from wxauth_server.wechat.client import WeChatUser


@dataclass(frozen=True)
class ServerOptions:
    """What a fault test can choose. `unprotected` names what a negative control takes away."""

    directory: str
    #: For none: an address nobody listens on.
    wechat_url: str = "http://127.0.0.1:1"
    bcrypt_cost: int = BCRYPT_COST
    #: Cores to size the pools for; 0 for those there are.
    cores: int = 0
    #: Each code is a WeChat user of its own, at once and in this process.
    instant_wechat: bool = False
    unprotected: str = ""
    #: Where in a login this process kills itself; one of crash_points.py.
    crash_point: str = ""
    #: Of a PostgreSQL; without it the store is SQLite in the directory.
    store_url: str = field(default="", repr=False)
    #: Sessions that it answers for from memory; 0: the store is read for each validation.
    cached_sessions: int = 100_000

    def as_argument(self) -> str:
        return json.dumps(dataclasses.asdict(self))


class InstantWeChat:
    """Stands in for WeChatClient where WeChat's time would only cover up ours."""

    def __init__(self, base_url: str) -> None:
        """As WeChatClient."""

    def code_to_session(
        self, app_id: str, app_secret: str, code: str, deadline: Deadline
    ) -> WeChatUser:
        return WeChatUser(openid=code, unionid="", session_key="unused")

    def close(self) -> None:
        """As WeChatClient."""


class BcryptWatch:
    """How many bcrypt computations this process ran at a time, at most. Thread-safe."""

    def __init__(self) -> None:
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    def around(self, checkpw: Callable[[bytes, bytes], bool]) -> Callable[[bytes, bytes], bool]:
        def watched(password: bytes, hashed: bytes) -> bool:
            with self._lock:
                self._now += 1
                self.most = max(self.most, self._now)
            try:
                return checkpw(password, hashed)
            finally:
                with self._lock:
                    self._now -= 1

        return watched


async def serve(options: ServerOptions, watch: BcryptWatch) -> None:
    configuration = load_configuration(
        store=store_table(Path(options.directory), options.store_url),
        grpc={"listen": "127.0.0.1:0", "lame_duck_s": 0, "stop_grace_s": 1},
        wechat={"base_url": options.wechat_url},
        passwords={"bcrypt_cost": options.bcrypt_cost},
        session_cache={"sessions": options.cached_sessions},
    )
    server = wiring.Server(configuration)
    print(await server.start(), flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    await server.stop()
    print(json.dumps({"most_bcrypt_at_once": watch.most}), flush=True)


def main() -> None:
    options = ServerOptions(**json.loads(sys.argv[1]))
    set_up_logs("text", "critical")
    watch = BcryptWatch()
    replace(bcrypt, "checkpw", watch.around(bcrypt.checkpw))
    if options.cores:
        replace(Pools, "create", functools.partial(Pools.create, cores=options.cores))
    if options.instant_wechat:
        replace(wiring, "WeChatClient", InstantWeChat)
    without_protection(options.unprotected)
    if options.crash_point:
        crash_at(options.crash_point)
    uvloop.run(serve(options, watch))


if __name__ == "__main__":
    main()
