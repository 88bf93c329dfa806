"""What a session allows with WeChat, through the client. Both twins."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from tests.gateway.scripted_services import DATA, ScriptedWeChatServer, scripted_wechat_server
from tests.scripted_server import NOON, SESSION_ID, fail, in_turn, refuse, say
from wxauth.v1 import wechat_service_pb2 as pb
from wxauth_client import (
    AsyncAuthClient,
    AuthClient,
    PhoneNumber,
    ProtocolError,
    RequestInvalid,
    ServerUnreachable,
    SessionKeyInvalid,
    UserData,
    UserDataInvalid,
)

# Calls a method of a client of either kind.
Ask = Callable[..., Any]

#: method -> (its rpc, what it takes besides the SessionId, its default deadline in seconds)
METHODS: dict[str, tuple[str, tuple[str, ...], float]] = {
    "decrypt_user_data": ("DecryptUserData", ("encrypted", "iv"), 1.0),
    "verify_user_data": ("VerifyUserData", ("raw", "signature"), 1.0),
    "phone_number": ("GetPhoneNumber", ("code",), 4.0),
    "check_session_key": ("CheckSessionKey", (), 4.0),
    "reset_session_key": ("ResetSessionKey", (), 4.0),
}
RETRIED = {"decrypt_user_data", "verify_user_data", "check_session_key"}


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedWeChatServer]:
    with scripted_wechat_server() as server:
        yield server


@pytest.fixture
def server(running: ScriptedWeChatServer) -> ScriptedWeChatServer:
    running.reset()
    return running


@pytest.fixture(params=["sync", "aio"])
def ask(
    request: pytest.FixtureRequest,
    server: ScriptedWeChatServer,
    server_loop: asyncio.AbstractEventLoop,
) -> Ask:
    async def ask_aio(method: str, *args: Any, **kwargs: Any) -> Any:
        async with AsyncAuthClient(server.address) as client:
            return await getattr(client, method)(*args, **kwargs)

    def ask(method: str, *args: Any, **kwargs: Any) -> Any:
        if request.param == "aio":
            asked = ask_aio(method, *args, **kwargs)
            return asyncio.run_coroutine_threadsafe(asked, server_loop).result(30)
        with AuthClient(server.address) as client:
            return getattr(client, method)(*args, **kwargs)

    return ask


# --- What is sent and returned ----------------------------------------------


def test_decrypt_user_data(ask: Ask, server: ScriptedWeChatServer) -> None:
    opened = ask("decrypt_user_data", SESSION_ID, "ZW5j+/8=", "iv==")
    assert opened == UserData(DATA, NOON)
    assert "张三" not in repr(opened)
    assert server.requests("DecryptUserData") == [
        pb.DecryptUserDataRequest(session_id=SESSION_ID, encrypted_data="ZW5j+/8=", iv="iv==")
    ]


def test_verify_user_data(ask: Ask, server: ScriptedWeChatServer) -> None:
    raw_data = json.dumps({"nickName": '"张三"\n'}, ensure_ascii=False)
    assert ask("verify_user_data", SESSION_ID, raw_data, "f" * 40) is None
    assert server.requests("VerifyUserData") == [
        pb.VerifyUserDataRequest(session_id=SESSION_ID, raw_data=raw_data, signature="f" * 40)
    ]


def test_phone_number(ask: Ask, server: ScriptedWeChatServer) -> None:
    number = ask("phone_number", SESSION_ID, "c" * 64)
    assert number == PhoneNumber("+8613800138000", "86", "13800138000")
    assert "13800138000" not in repr(number)
    assert server.requests("GetPhoneNumber") == [
        pb.GetPhoneNumberRequest(session_id=SESSION_ID, code="c" * 64)
    ]


def test_check_and_reset_session_key(ask: Ask, server: ScriptedWeChatServer) -> None:
    assert ask("check_session_key", SESSION_ID) is None
    assert ask("reset_session_key", SESSION_ID) is None
    assert server.asked == [
        ("CheckSessionKey", pb.CheckSessionKeyRequest(session_id=SESSION_ID)),
        ("ResetSessionKey", pb.ResetSessionKeyRequest(session_id=SESSION_ID)),
    ]


@pytest.mark.parametrize(
    "data",
    ["", "CANARY", "[]", "null", '"CANARY"', '{"a": CANARY}', '{"a": NaN}', '{"a":' * 2_000],
    ids=range(8),
)
def test_data_that_is_no_json_object(ask: Ask, server: ScriptedWeChatServer, data: str) -> None:
    server.answers["DecryptUserData"] = say(pb.DecryptUserDataResponse(data=data))
    with pytest.raises(ProtocolError) as caught:
        ask("decrypt_user_data", SESSION_ID, "x", "y")
    assert "CANARY" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_number_that_is_none(ask: Ask, server: ScriptedWeChatServer) -> None:
    server.answers["GetPhoneNumber"] = say(pb.GetPhoneNumberResponse())
    with pytest.raises(ProtocolError):
        ask("phone_number", SESSION_ID, "c")


def test_text_that_is_not_unicode_is_refused(ask: Ask, server: ScriptedWeChatServer) -> None:
    with pytest.raises(RequestInvalid):
        ask("verify_user_data", SESSION_ID, "half a pair: \ud83d", "f" * 40)
    assert server.asked == []


# --- Failures and repetitions -------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_failures(ask: Ask, server: ScriptedWeChatServer, method: str) -> None:
    rpc, args, _ = METHODS[method]
    server.answers[rpc] = refuse("SESSION_KEY_INVALID", "FAILED_PRECONDITION")
    with pytest.raises(SessionKeyInvalid):
        ask(method, SESSION_ID, *args)
    server.answers[rpc] = refuse(
        "USER_DATA_INVALID", "INVALID_ARGUMENT", metadata={"watermark": "STALE"}
    )
    with pytest.raises(UserDataInvalid) as caught:
        ask(method, SESSION_ID, *args)
    assert caught.value.watermark == "STALE"


@pytest.mark.parametrize("status", ["UNAVAILABLE", "CANCELLED"])
@pytest.mark.parametrize("method", METHODS)
def test_only_what_changes_nothing_is_retried(
    ask: Ask, server: ScriptedWeChatServer, method: str, status: str
) -> None:
    rpc, args, _ = METHODS[method]
    server.answers[rpc] = in_turn(fail(status), fail(status), server.answers[rpc])
    if method in RETRIED:
        ask(method, SESSION_ID, *args, timeout_s=10)
        assert len(server.requests(rpc)) == 3
    else:
        with pytest.raises(ServerUnreachable):
            ask(method, SESSION_ID, *args, timeout_s=10)
        assert len(server.requests(rpc)) == 1


@pytest.mark.parametrize("method", METHODS)
def test_deadlines(ask: Ask, server: ScriptedWeChatServer, method: str) -> None:
    rpc, args, default_s = METHODS[method]
    answer = server.answers[rpc]
    left: list[float] = []

    def measuring(request: Any, context: grpc.ServicerContext) -> Any:
        left.append(context.time_remaining())
        return answer(request, context)

    server.answers[rpc] = measuring
    ask(method, SESSION_ID, *args)
    ask(method, SESSION_ID, *args, timeout_s=20)
    assert default_s - 1 < left[0] <= default_s
    assert 10 < left[1] <= 20
