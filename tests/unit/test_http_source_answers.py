"""HttpSource and answers that are none: each is an alarm, and neither a yes nor a no."""

from __future__ import annotations

import logging
import socket

import pytest

from tests.scripted_business import (
    ACCOUNT,
    YES,
    Alarm,
    alarms,
    business,
    request_from,
    saying,
    unavailable,
)
from tests.scripted_wechat import (
    Script,
    http,
)


@pytest.fixture(autouse=True)
def everything_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    """Libraries say most at DEBUG, and the canary listens."""
    caplog.set_level(logging.DEBUG)


@pytest.mark.parametrize(
    ("answer", "kind", "detail", "retry_after_s"),
    [
        (b"<html>Welcome</html>", "not_json", "not JSON in UTF-8", 1),
        (http(b"<html>", "502 Bad Gateway"), "status", "HTTP status 502", 1),
        (http(b"", "429 Too Many", "Retry-After: 7"), "status", "HTTP status 429", 7),
        (http(b"", "503 Oops", "Retry-After: 3600"), "status", "HTTP status 503", 60),
        (http(YES, "401 Unauthorized"), "key_refused", "HTTP status 401", 1),
        (http(YES, "403 Forbidden"), "key_refused", "HTTP status 403", 1),
        (b'{"account":{}}', "no_id", "an account without an id", 1),
        (b'{"account":{"id":"a\\u0000"}}', "bad_id", "the id holds a control character or", 1),
        (b'{"account":{"id":"1","disabled":0}}', "wrong_shape", "disabled is neither true nor", 1),
    ],
)
def test_an_answer_that_is_none_is_an_alarm(
    answer: bytes,
    kind: str,
    detail: str,
    retry_after_s: float,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with business(Script(verify=answer, get=answer, deleted=http(b"no"))) as asked:
        assert unavailable(asked.verify).retry_after_s == retry_after_s
        assert unavailable(asked.get).retry_after_s == retry_after_s
        unavailable(asked.tell_deleted)
    *found, deleted = alarms(caplog)
    assert [(alarm.level, alarm.call, alarm.kind) for alarm in found] == [
        ("ERROR", "/verify", kind),
        ("ERROR", "/get", kind),
    ]
    assert all(alarm.detail.startswith(detail) for alarm in found)
    assert deleted == Alarm("ERROR", "/deleted", "not_json", "not JSON in UTF-8")


def test_a_yes_with_another_id_is_none(caplog: pytest.LogCaptureFixture) -> None:
    with business(Script(get=YES.replace(b"10001", b"10002"))) as asked:
        unavailable(asked.get)
    [alarm] = alarms(caplog)
    assert alarm.kind == "other_id"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 Other", "307 T", "308 P"])
def test_a_redirect_is_not_followed(status: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither to another host nor to another path of this one."""
    target = Script(verify=YES, elsewhere=YES)
    with business(target) as other:
        script = Script(
            verify=[
                http(YES, status, f"Location: {host}/elsewhere")
                for host in (other.server.base_url, "")
            ]
        )
        with business(script) as asked:
            unavailable(asked.verify)
            unavailable(asked.verify)
        assert [one.call for one in script.asked] == ["verify", "verify"]
        assert other.server.connections == 0
        assert other.verify() == ACCOUNT, "it would have answered"
    assert [alarm.kind for alarm in alarms(caplog)] == ["redirect", "redirect"]


def test_a_cookie_is_not_kept() -> None:
    script = Script(verify=http(YES, "200 OK", "Set-Cookie: a=b"))
    with business(script) as asked:
        asked.verify()
        asked.verify()
    assert ["cookie" in one.headers for one in script.asked] == [False, False]


# --- Answers that do not end as they should --------------------------------


BROKEN = {
    "closes without a word": b"",
    "cut in the status": b"HTTP/1.1 2",
    "cut before the body": http(YES)[: -len(YES)],
    "cut in the body": http(YES)[:-10],
    "cut after what matters": http(YES + b" ")[:-1],
    "cut chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\n" + YES,
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "bad length": b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n" + YES,
    "header too long": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_answer_is_none_and_not_asked_for_again(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with business(saying(BROKEN[name])) as asked:
        unavailable(asked.verify)
    assert asked.server.connections == 1
    assert [(alarm.level, alarm.kind) for alarm in alarms(caplog)] == [("ERROR", "no_answer")]


def test_ten_megabytes_are_not_read(caplog: pytest.LogCaptureFixture) -> None:
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        request_from(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
        while sent < 10_000_000:
            sent += connection.send(b" " * 65_536)

    with business(flood) as asked:
        unavailable(asked.verify)
    assert sent < 10_000_000
    assert [alarm.kind for alarm in alarms(caplog)] == ["too_large"]
