"""WeChatClient against servers that answer, misbehave, stall and vanish.

Every refusal is also searched for secrets: in the error, its traceback, what it
is chained to, and the log at DEBUG.
"""

from __future__ import annotations

import gzip
import logging
import socket
import threading
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.sandbox_server import running_sandbox
from tests.scripted_wechat import (
    Conversation,
    HandClock,
    Refusals,
    answering,
    client_of,
    http,
    request_from,
    saying,
    serving,
)
from wechat_sandbox import SandboxApp
from wxauth_server.deadline import Deadline
from wxauth_server.errors import (
    AuthError,
    CodeInvalid,
    CodeUsed,
    DeadlineTooShort,
    WeChatMisconfigured,
    WeChatRateLimited,
    WeChatUnavailable,
    WeChatUserBlocked,
)
from wxauth_server.outbound.transport import MAX_BODY_BYTES
from wxauth_server.wechat.client import WeChatClient, WeChatUser

APP = "wx1111111111111111"
SECRET = "SECRET-do-not-print"
CODE = "CODE-do-not-print"
KEY = "KEYdonotprint/+AAAAAAA=="
ERRMSG = "ERRMSG-do-not-print"
OPENID = "oAAAAAAAAAAAAAAAAAAAAAAAAAA1"
SUCCESS = f'{{"session_key":"{KEY}","openid":"{OPENID}"}}'.encode()
CONFIGURATION = f"WeChat refuses our configuration: errcode {{}}, app {APP} (jscode2session)"


def ask(client: WeChatClient, deadline_s: float = 5.0) -> WeChatUser:
    return client.code_to_session(APP, SECRET, CODE, Deadline(deadline_s))


@pytest.fixture
def refusals(caplog: pytest.LogCaptureFixture) -> Refusals:
    return Refusals(caplog, (SECRET, CODE, KEY, ERRMSG, OPENID))


# --- Success ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "unionid"),
    [
        (SUCCESS, ""),
        (SUCCESS[:-1] + b',"unionid":"oUnion-_1"}', "oUnion-_1"),
        (SUCCESS[:-1] + b',"unionid":""}', ""),
        (SUCCESS[:-1] + b',"unionid":null}', ""),
        (SUCCESS[:-1] + b',"errcode":0,"errmsg":"ok"}', ""),
        (SUCCESS[:-1] + b',"errmsg":"","new_field":{"a":[1]}}\n', ""),
    ],
)
def test_success(body: bytes, unionid: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(answering(http(body))) as server, client_of(server.base_url) as client:
        user = ask(client)
    assert (user.openid, user.unionid, user.session_key) == (OPENID, unionid, KEY)
    assert KEY not in repr(user)
    assert CODE not in caplog.text
    assert SECRET not in caplog.text


def test_success_in_chunks_or_ended_by_closing() -> None:
    chunks = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (
        *(10, SUCCESS[:10]),
        *(len(SUCCESS) - 10, SUCCESS[10:]),
    )
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    closed = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + SUCCESS
    for answer in (chunked, closed):
        with serving(saying(answer)) as server, client_of(server.base_url) as client:
            assert ask(client).openid == OPENID


def test_the_request_is_the_documented_one_and_encoded() -> None:
    heads: list[bytes] = []

    def converse(connection: socket.socket) -> None:
        heads.append(request_from(connection))
        connection.sendall(http(SUCCESS))

    code = "0&secret=x#\r\n \N{GRINNING FACE}\ud800"
    with serving(converse) as server, client_of(server.base_url + "/relay/") as client:
        client.code_to_session(APP, "a+b/=", code, Deadline(5))
    line, *_ = heads[0].decode("ascii").split("\r\n")
    method, target, version = line.split(" ")
    assert (method, version, urlsplit(target).path) == (
        "GET",
        "HTTP/1.1",
        "/relay/sns/jscode2session",
    )
    assert parse_qs(urlsplit(target).query, strict_parsing=True) == {
        "appid": [APP],
        "secret": ["a+b/="],
        "js_code": [code.replace("\ud800", "?")],
        "grant_type": ["authorization_code"],
    }


def test_a_connection_is_reused_until_the_idle_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(answering(http(SUCCESS))) as server, client_of(server.base_url) as client:
        for _ in range(3):
            ask(client)
        assert server.connections == 1
        monkeypatch.setattr("wxauth_server.outbound.connections.IDLE_LIMIT_S", 0.0)
        ask(client)
        assert server.connections == 2


def test_a_connection_that_the_server_closed_is_replaced() -> None:
    with serving(saying(http(SUCCESS))) as server, client_of(server.base_url) as client:
        for _ in range(3):
            ask(client)
            server.finish()  # else the client may send before it can know of the closing
    assert server.connections == 3


def test_with_the_sandbox_from_many_threads() -> None:
    with (
        running_sandbox([SandboxApp(APP, SECRET, platform="p")]) as sandbox,
        client_of(sandbox.base_url) as client,
    ):
        codes = [sandbox.mint(APP, f"user{n}") for n in range(16)]
        users: list[WeChatUser] = []

        def log_in(code: str) -> None:
            users.append(client.code_to_session(APP, SECRET, code, Deadline(5)))

        threads = [threading.Thread(target=log_in, args=[code]) for code in codes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({user.openid for user in users}) == 16
        assert len({user.unionid for user in users}) == 16
        with pytest.raises(CodeUsed):
            client.code_to_session(APP, SECRET, codes[0], Deadline(5))
        with pytest.raises(CodeInvalid):
            client.code_to_session(APP, SECRET, "the code is a mock one", Deadline(5))
        with pytest.raises(WeChatMisconfigured):
            client.code_to_session(APP, "wrong", codes[0], Deadline(5))


# --- Errcodes ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("errcode", "error", "log"),
    [
        (40029, CodeInvalid, None),
        (40163, CodeUsed, None),
        (40226, WeChatUserBlocked, None),
        (45011, WeChatRateLimited, None),
        *(
            (
                errcode,
                WeChatMisconfigured,
                (
                    "ERROR",
                    CONFIGURATION.format(errcode),
                ),
            )
            for errcode in (40013, 40125, 48001, 40002, 41002, 41004, 41008)
        ),
        *(
            (
                errcode,
                WeChatUnavailable,
                (
                    "WARNING",
                    f"WeChat answered with an errcode we do not know: {errcode} (jscode2session)",
                ),
            )
            for errcode in (1, 40001, 50002, -1000, 10**30)
        ),
    ],
)
def test_each_errcode_has_its_refusal(
    errcode: int, error: type[AuthError], log: tuple[str, str] | None, refusals: Refusals
) -> None:
    body = f'{{"errcode":{errcode},"errmsg":"{ERRMSG}","openid":"{OPENID}"}}'.encode()
    with serving(answering(http(body))) as server, client_of(server.base_url) as client:
        assert type(refusals.of(ask, client)) is error
    assert refusals.log == ([log] if log else [])


BUSY = http(b'{"errcode":-1,"errmsg":"system error"}')


def test_busy_is_retried_twice(refusals: Refusals) -> None:
    answers = [BUSY, BUSY, http(SUCCESS)]
    with serving(answering(*answers)) as server, client_of(server.base_url) as client:
        assert ask(client).openid == OPENID
    answers = [BUSY, BUSY, BUSY, http(SUCCESS)]
    with serving(answering(*answers)) as server, client_of(server.base_url) as client:
        assert isinstance(refusals.of(ask, client), WeChatUnavailable)


@pytest.mark.parametrize(("errcode", "error"), [(40029, CodeInvalid), (40163, CodeUsed)])
def test_a_code_burnt_by_a_busy_answer_is_reported_as_such(
    errcode: int, error: type[AuthError], refusals: Refusals
) -> None:
    burnt = http(b'{"errcode":%d}' % errcode)
    with serving(answering(BUSY, burnt)) as server, client_of(server.base_url) as client:
        assert type(refusals.of(ask, client)) is error


def test_retries_take_half_a_second_at_most(refusals: Refusals) -> None:
    requests: list[bytes] = []

    def busy_then_silent(connection: socket.socket) -> None:
        while head := request_from(connection):
            requests.append(head)
            if len(requests) == 1:
                connection.sendall(BUSY)

    with serving(busy_then_silent) as server, client_of(server.base_url) as client:
        began = time.monotonic()
        assert isinstance(refusals.of(ask, client), WeChatUnavailable)
        assert time.monotonic() - began < 1.5
    assert len(requests) == 2


# --- Answers that make no sense ---------------------------------------------

ODD_BODIES = {
    "empty": b"",
    "truncated": SUCCESS[:-1],
    "html": b"<html><body>502 Bad Gateway</body></html>",
    "not utf-8": SUCCESS[:-1] + b',"x":"\xff"}',
    "utf-16": SUCCESS.decode().encode("utf-16"),
    "list": b"[" + SUCCESS + b"]",
    "string": b'"ok"',
    "null": b"null",
    "nested too deep": b"[" * 60_000,
    "an endless number": b'{"errcode":' + b"1" * 5000 + b"}",
    "errcode is a string": SUCCESS[:-1] + b',"errcode":"0"}',
    "errcode is null": SUCCESS[:-1] + b',"errcode":null}',
    "errcode is a bool": SUCCESS[:-1] + b',"errcode":false}',
    "errcode is a float": SUCCESS[:-1] + b',"errcode":0.0}',
    "nothing": b"{}",
    "errcode 0 alone": b'{"errcode":0,"errmsg":"ok"}',
    "openid empty": SUCCESS[:-1] + b',"openid":""}',
    "openid a number": SUCCESS[:-1] + b',"openid":7}',
    "openid null": SUCCESS[:-1] + b',"openid":null}',
    "openid with a space": SUCCESS[:-1] + b',"openid":"o 1"}',
    "openid with a line end": SUCCESS[:-1] + b',"openid":"o1\\n"}',
    "openid too long": SUCCESS[:-1] + b',"openid":"' + b"o" * 65 + b'"}',
    "no session_key": b'{"openid":"o1"}',
    "session_key empty": SUCCESS[:-1] + b',"session_key":""}',
    "session_key a number": SUCCESS[:-1] + b',"session_key":1}',
    "unionid a list": SUCCESS[:-1] + b',"unionid":["u"]}',
    "unionid with a space": SUCCESS[:-1] + b',"unionid":"u 1"}',
}

ODD_ANSWERS = {
    **{name: http(body) for name, body in ODD_BODIES.items()},
    **{
        f"status {status}": http(SUCCESS, status)
        for status in ("201 Created", "204 No Content", "400 Bad", "404 Not Found", "500 Oops")
    },
    "status 502 in HTML": http(b"<html>", "502 Bad Gateway", "Retry-After: 1"),
    "too long": http(SUCCESS + b" " * MAX_BODY_BYTES),
    "compressed unasked": http(gzip.compress(SUCCESS), "200 OK", "Content-Encoding: gzip"),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "no status": b"HTTP/1.1 \r\n\r\n",
    "nothing sent": b"",
    "cut in the headers": b"HTTP/1.1 200 OK\r\nContent-",
    "cut in the body": http(SUCCESS)[:-10],
    "bad length": b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n" + SUCCESS,
    "bad chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "cut chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n{",
    "header too long": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
    "too many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    # urllib3 logs the URL at WARNING when it sees this.
    "header without a colon": b"HTTP/1.1 200 OK\r\nX: y\r\nno colon\r\n\r\n",
}


@pytest.mark.parametrize("name", ODD_ANSWERS)
def test_an_odd_answer_means_unavailable(name: str, refusals: Refusals) -> None:
    with serving(saying(ODD_ANSWERS[name])) as server, client_of(server.base_url) as client:
        error = refusals.of(ask, client)
        assert type(error) is WeChatUnavailable
        assert error.retry_after_s
    assert server.connections == 1, "a code that may be burnt was sent again"
    assert [level for level, _ in refusals.log] == ["WARNING"]


def test_a_body_without_end_is_cut_off(refusals: Refusals) -> None:
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        request_from(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while True:
            sent += connection.send(b" " * 65536)

    with serving(flood) as server, client_of(server.base_url) as client:
        assert isinstance(refusals.of(ask, client), WeChatUnavailable)
    assert sent < 90_000_000
    assert refusals.log == [
        ("WARNING", "WeChat's answer makes no sense: too long (jscode2session)")
    ]


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary"])
def test_a_redirect_is_refused_and_not_followed(status: str, refusals: Refusals) -> None:
    with serving(answering(http(SUCCESS))) as target:
        redirect = http(b"", status, f"Location: {target.base_url}/sns/jscode2session")
        with serving(saying(redirect)) as server, client_of(server.base_url) as client:
            assert isinstance(refusals.of(ask, client), WeChatUnavailable)
    assert target.connections == 0


def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answering(http(SUCCESS))) as proxy, serving(answering(http(SUCCESS))) as server:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.base_url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with client_of(server.base_url) as client:
            ask(client)
    assert (proxy.connections, server.connections) == (0, 1)


# --- Time -------------------------------------------------------------------


def silent(connection: socket.socket) -> None:
    while request_from(connection):
        pass


def dripping(head: bytes, drop: bytes) -> Conversation:
    def converse(connection: socket.socket) -> None:
        request_from(connection)
        connection.sendall(head)
        never = threading.Event()
        while not never.wait(0.02):  # the pace of the drip
            connection.sendall(drop)

    return converse


STALLS: dict[str, Conversation] = {
    "silent": silent,
    "drips the status line": dripping(b"HTTP/1.1 200 O", b"K"),
    "drips headers": dripping(b"HTTP/1.1 200 OK\r\n", b"X"),
    "says continue for ever": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "drips the body": dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{", b" "),
    "drips chunks": dripping(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"
    ),
    "drips until it closes": dripping(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" "),
}


@pytest.mark.parametrize("by_deadline", [True, False])
@pytest.mark.parametrize("name", STALLS)
def test_a_stall_ends_at_the_deadline_or_the_read_timeout(
    name: str, by_deadline: bool, refusals: Refusals
) -> None:
    read_timeout_s, deadline_s = (2.5, 0.1) if by_deadline else (0.1, 5.0)
    with (
        serving(STALLS[name]) as server,
        client_of(server.base_url, read_timeout_s=read_timeout_s) as client,
    ):
        began = time.monotonic()
        assert isinstance(refusals.of(ask, client, deadline_s), WeChatUnavailable)
        took_s = time.monotonic() - began
    assert 0.09 < took_s < 1.0  # room for a busy machine
    assert server.connections == 1, "a code that may be burnt was sent again"


def test_no_time_left_means_nothing_is_sent(refusals: Refusals) -> None:
    with serving(silent) as server, client_of(server.base_url) as client:
        assert isinstance(refusals.of(ask, client, deadline_s=0.01), DeadlineTooShort)
    assert server.connections == 0


def test_a_reset_after_sending_is_not_retried(refusals: Refusals) -> None:
    def reset(connection: socket.socket) -> None:
        request_from(connection)
        # Linger 0: closing sends a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with serving(reset) as server, client_of(server.base_url) as client:
        assert isinstance(refusals.of(ask, client), WeChatUnavailable)
    assert server.connections == 1


def test_a_refused_connection_is_tried_three_times(
    refusals: Refusals, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("wxauth_server.wechat.endpoint.time.sleep", pauses.append)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with client_of(f"http://127.0.0.1:{port}") as client:
        assert isinstance(refusals.of(ask, client), WeChatUnavailable)
    assert len(pauses) == 2
    assert 0.025 <= pauses[0] <= 0.075
    assert 0.05 <= pauses[1] <= 0.15
    assert refusals.log == [
        ("WARNING", "WeChat was not reached or did not answer: NewConnectionError (jscode2session)")
    ]


def test_a_name_that_does_not_resolve(refusals: Refusals, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with client_of("http://wechat.invalid") as client:
        assert isinstance(refusals.of(ask, client), WeChatUnavailable)
    assert refusals.log == [
        (
            "WARNING",
            "WeChat was not reached or did not answer: NameResolutionError (jscode2session)",
        )
    ]


def test_all_addresses_of_a_host_share_the_connect_timeout(
    refusals: Refusals, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A listener whose backlog is full drops further SYNs: connecting hangs.
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(address)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)]
        resolve = socket.getaddrinfo

        def many(host: str, *args: object, **kwargs: object) -> object:
            if host == "wechat.invalid":
                return found * 8
            return resolve(host, *args, **kwargs)  # type: ignore[arg-type]  # passed on as it came

        monkeypatch.setattr(socket, "getaddrinfo", many)
        base_url = f"http://wechat.invalid:{address[1]}"
        with client_of(base_url, connect_timeout_s=0.3) as client:
            began = time.monotonic()
            assert isinstance(refusals.of(ask, client), WeChatUnavailable)
            took_s = time.monotonic() - began
    assert 0.29 < took_s < 1.2  # 0.3 s and the retries' 0.5 s; unshared, 1.4 s
    assert refusals.log == [
        (
            "WARNING",
            "WeChat was not reached or did not answer: ConnectTimeoutError (jscode2session)",
        )
    ]


# --- TLS, the circuit, construction -----------------------------------------


def test_a_server_without_tls_never_sees_the_secret(refusals: Refusals) -> None:
    received: list[bytes] = []

    def record(connection: socket.socket) -> None:
        received.append(connection.recv(4096))
        connection.sendall(http(SUCCESS))

    with serving(record) as server:
        base_url = server.base_url.replace("http:", "https:")
        with client_of(base_url) as client:
            assert isinstance(refusals.of(ask, client), WeChatUnavailable)
    assert SECRET.encode() not in b"".join(received)


def test_a_tls_handshake_without_end_shares_the_connect_timeout(refusals: Refusals) -> None:
    with serving(silent) as server:
        base_url = server.base_url.replace("http:", "https:")
        with client_of(base_url, connect_timeout_s=0.1) as client:
            began = time.monotonic()
            assert isinstance(refusals.of(ask, client), WeChatUnavailable)
            assert time.monotonic() - began < 1.5


def test_five_lost_answers_open_the_circuit_and_an_answer_closes_it(refusals: Refusals) -> None:
    clock = HandClock()
    healthy = threading.Event()

    def converse(connection: socket.socket) -> None:
        while request_from(connection) and healthy.is_set():
            connection.sendall(http(SUCCESS))

    with (
        serving(converse) as server,
        client_of(server.base_url, monotonic=clock) as client,
    ):
        for _ in range(5):
            refusals.of(ask, client)
        assert refusals.log[-2:] == [
            ("WARNING", "WeChat does not answer: no calls to it for a while (jscode2session)"),
            ("WARNING", "WeChat was not reached or did not answer: ProtocolError (jscode2session)"),
        ]
        clock.now += 3
        began = time.monotonic()
        refused = refusals.of(ask, client)
        assert time.monotonic() - began < 0.5  # 50 ms, and room for a busy machine
        assert isinstance(refused, WeChatUnavailable)
        assert refused.retry_after_s == 2.0
        assert server.connections == 5
        clock.now += 2
        healthy.set()
        assert ask(client).openid == OPENID
        assert ask(client).openid == OPENID


def test_odd_answers_and_errcodes_leave_the_circuit_closed(refusals: Refusals) -> None:
    odd = [http(b"", "502 Bad Gateway"), http(b"<html>"), http(b'{"errcode":40029}')] * 4
    with (
        serving(answering(*odd, http(SUCCESS))) as server,
        client_of(server.base_url) as client,
    ):
        for _ in odd:
            refusals.of(ask, client)
        assert ask(client).openid == OPENID


def test_impatient_callers_do_not_open_the_circuit(refusals: Refusals) -> None:
    with serving(silent) as server, client_of(server.base_url) as client:
        for _ in range(6):
            refusals.of(ask, client, deadline_s=0.03)
    assert server.connections == 6


@pytest.mark.parametrize(
    "base_url",
    ["", "api.weixin.qq.com", "ftp://host", "http://", "https://u:p@host", "https://host/?a=b"],
)
def test_a_base_url_that_is_none_is_refused(base_url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        WeChatClient(base_url)
