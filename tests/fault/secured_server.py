"""The server with TLS and callers, as a process: `python -m tests.fault.secured_server OPTIONS`.

OPTIONS is `SecuredOptions` in JSON. Prints its port, ends gracefully when its
standard input does, and logs to LOG_NAME in the directory of its store.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from tests.canary import CANARY
from tests.fault.serving import ChildProcess
from tests.fault.unprotected import replace
from wxauth_client.file_watch import INTERVAL_S
from wxauth_server import wiring
from wxauth_server.callers import callers_file, watching
from wxauth_server.callers.caller import Caller, CallerBook, CallerToken, Role
from wxauth_server.callers.tokens import CALLER_PREFIX, digest_of, new_token
from wxauth_server.callers.watching import watch_callers
from wxauth_server.config import Configuration, load_configuration

LOG_NAME = "server.log"

#: Stops and starts again for each exchange.
RESTARTED = "restarted"
#: Knows the callers of its start for good.
CALLERS_OF_THE_START = "callers-of-the-start"


@dataclass(frozen=True)
class SecuredOptions:
    """`grpc` is the table of that name. `unprotected` is for the negative controls."""

    directory: str
    grpc: Mapping[str, Any] = field(default_factory=dict)
    #: Seconds between two looks at the files.
    look_every_s: float = INTERVAL_S
    unprotected: str = ""
    #: In memory; 0: the store is read for each validation.
    cached_sessions: int = 100_000


class SecuredServer(ChildProcess):
    """The server over a store that was seeded, and that ought to have callers."""

    def __init__(self, options: SecuredOptions) -> None:
        self.log_file = Path(options.directory) / LOG_NAME
        super().__init__(
            "tests.fault.secured_server",
            json.dumps(dataclasses.asdict(options)),
            directory=Path(options.directory),
        )

    def errors(self) -> list[str]:
        """The errors of its log so far."""
        lines = self.log_file.read_text().splitlines()
        return [line for line in lines if line.startswith("ERROR")]


def write_callers(
    directory: Path, tokens: Mapping[str, str], certificate_names: Sequence[str] = ()
) -> None:
    """Let these callers, and no others, validate; each by its token or its certificate."""
    now_ms = time.time_ns() // 1_000_000
    roles = frozenset({Role.SERVICE})
    callers = [
        Caller(name, roles, now_ms, tokens=(CallerToken(digest_of(token), now_ms),))
        for name, token in tokens.items()
    ] + [
        Caller(f"certificate-{number}", roles, now_ms, certificate_names=(name,))
        for number, name in enumerate(certificate_names)
    ]
    with callers_file.changing_callers(directory / callers_file.FILE_NAME) as file:
        file.replace(CallerBook(callers))


def new_caller_token() -> str:
    return CANARY.keep(new_token(CALLER_PREFIX))


def _callers_of_the_start() -> None:
    def watched_once(configuration: Configuration) -> Any:
        watch = watch_callers(configuration)
        replace(watch, "refresh", lambda: False)
        return watch

    replace(wiring, "watch_callers", watched_once)


async def serve(configuration: Configuration, look_every_s: float) -> None:
    replace(watching, "INTERVAL_S", look_every_s)
    server = wiring.Server(configuration)
    print(await server.start(), flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    await server.stop()


async def serve_restarted(configuration: Configuration, look_every_s: float) -> None:
    """What one does who cannot exchange: end and start again as soon as there is another."""
    tls = configuration.grpc.tls
    assert tls is not None
    server = wiring.Server(configuration)
    port = await server.start()
    print(port, flush=True)
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.buffer.read))
    again = load_configuration(
        store={"directory": configuration.store.directory},
        grpc=configuration.grpc.model_dump() | {"listen": f"127.0.0.1:{port}"},
    )
    seen = tls.certificate_file.read_bytes()
    while not ended.done():
        await asyncio.wait([ended], timeout=look_every_s)
        if tls.certificate_file.read_bytes() != seen:
            seen = tls.certificate_file.read_bytes()
            await server.stop()
            server = wiring.Server(again)
            await server.start()
    await server.stop()


def main() -> None:
    options = SecuredOptions(**json.loads(sys.argv[1]))
    directory = Path(options.directory)
    logging.basicConfig(
        filename=directory / LOG_NAME, level=logging.INFO, format="%(levelname)s %(message)s"
    )
    variants: dict[str, Callable[[], None]] = {
        "": lambda: None,
        RESTARTED: lambda: None,
        CALLERS_OF_THE_START: _callers_of_the_start,
    }
    variants[options.unprotected]()
    configuration = load_configuration(
        store={"directory": directory},
        grpc={"listen": "127.0.0.1:0", "lame_duck_s": 0, "stop_grace_s": 1} | dict(options.grpc),
        session_cache={"sessions": options.cached_sessions},
        wechat={"base_url": "http://127.0.0.1:1"},
    )
    run = serve_restarted if options.unprotected == RESTARTED else serve
    uvloop.run(run(configuration, options.look_every_s))


if __name__ == "__main__":
    main()
