"""The sandbox put together: one ASGI application with its state."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Route

from wechat_sandbox import code_to_session, phone_numbers
from wechat_sandbox.access_tokens import AccessTokens
from wechat_sandbox.answers import JSON, TEXT
from wechat_sandbox.calls import new_history
from wechat_sandbox.code_to_session import CodeToSession
from wechat_sandbox.control import Control
from wechat_sandbox.control_faults import FaultControl
from wechat_sandbox.endpoint import Endpoint
from wechat_sandbox.mischief import Mischief
from wechat_sandbox.mischief_maker import MischiefMaker
from wechat_sandbox.one_time_codes import OneTimeCodes, new_login_code, new_phone_code
from wechat_sandbox.phone_numbers import GetPhoneNumber
from wechat_sandbox.session_key_endpoints import (
    CHECK_PATH,
    RESET_PATH,
    CheckSessionKey,
    ResetSessionKey,
)
from wechat_sandbox.token_endpoints import PLAIN_PATH, STABLE_PATH, PlainToken, StableToken
from wechat_sandbox.world import SandboxApp, World

__all__ = ["SandboxApp", "create_app"]

_log = logging.getLogger(__name__)


def create_app(
    apps: Sequence[SandboxApp],
    clock: Callable[[], float] = time.time,
    mischief: Mischief | None = None,
) -> Starlette:
    """A WeChat that knows `apps` and nobody else, its state empty.

    `clock` gives unix seconds; by default there is no `mischief`, and
    `POST /_control/mischief` changes it. Raises ValueError for two apps of one
    app_id. For one event loop and one process.
    """
    world = World(apps)
    tokens = AccessTokens()
    login_codes, phone_codes = OneTimeCodes(new_login_code), OneTimeCodes(new_phone_code)
    calls = new_history()
    maker = MischiefMaker(mischief or Mischief())

    login = CodeToSession(world, login_codes, maker)
    endpoint = functools.partial(Endpoint, clock=clock, calls=calls, mischief=maker)
    as_json = functools.partial(endpoint, content_type=JSON)
    with_token = functools.partial(as_json, revoke=tokens.revoke_one)
    interfaces = {
        ("GET", code_to_session.PATH): endpoint(
            code_to_session.PATH, login, content_type=TEXT, asker=login.asker
        ),
        ("POST", STABLE_PATH): as_json(STABLE_PATH, StableToken(world, tokens)),
        ("GET", PLAIN_PATH): as_json(PLAIN_PATH, PlainToken(world, tokens)),
        ("GET", CHECK_PATH): with_token(CHECK_PATH, CheckSessionKey(world, tokens)),
        ("GET", RESET_PATH): with_token(RESET_PATH, ResetSessionKey(world, tokens)),
        ("POST", phone_numbers.PATH): with_token(
            phone_numbers.PATH, GetPhoneNumber(tokens, phone_codes)
        ),
    }
    paths = [path for _, path in interfaces]
    return Starlette(
        routes=[
            *(Route(path, served, methods=[verb]) for (verb, path), served in interfaces.items()),
            *Control(world, tokens, login_codes, phone_codes, clock).routes(),
            *FaultControl(calls, maker, paths).routes(),
        ],
        lifespan=functools.partial(_lifespan, maker),
    )


@asynccontextmanager
async def _lifespan(maker: MischiefMaker, _app: Starlette) -> AsyncIterator[None]:
    _log.warning(
        "This is a sandbox, not WeChat: it logs anybody in as anybody. "
        "Keep it off the internet and away from production."
    )
    maker.announce()
    yield
