"""Signing, and reading the answers of a company's service: what is a yes, a no, and neither."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from hypothesis import given
from hypothesis import strategies as st

from tests.scripted_business import ACCOUNT, ID, KEY, NO, YES
from wxauth_server.accounts.sources.http_source_messages import (
    Fault,
    Faulty,
    read_account,
    read_told,
    signed_headers,
)
from wxauth_server.accounts.sources.source import SourceAccount
from wxauth_server.outbound.transport import Answer


def account(text: str = "", **fields: object) -> Answer:
    """A yes with these fields, the others as they should be, and with `text` after them."""
    whole = json.dumps({"id": ID, "disabled": False, **fields})
    return Answer(200, f'{{"account":{whole[:-1]}{text}}}}}'.encode())


def fault_of(read: object) -> Fault:
    assert isinstance(read, Faulty), read
    return read.fault


# --- A yes and a no -----------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        (Answer(200, YES), ACCOUNT),
        (Answer(200, NO), None),
        (Answer(200, b' {"account" : null, "more": [1]}\r\n'), None),
        (account(), SourceAccount(ID)),
        (account(username=None, display_name=None), SourceAccount(ID)),
        (account(disabled=True), SourceAccount(ID, enabled=False)),
        (account(roles=["x"], disabled_at=None), SourceAccount(ID)),
        (account(id="a b"), SourceAccount("a b")),
        (account(id="用" * 42 + "xy"), SourceAccount("用" * 42 + "xy")),
        (account(id=0), SourceAccount("0")),
        (account(id=7), SourceAccount("7")),
        (account(id=-7), SourceAccount("-7")),
        (account(id=2**63 + 1), SourceAccount("9223372036854775809")),
        (account(username="张三 (北京)"), SourceAccount(ID, username="张三 (北京)")),
        (account(username="u" * 256), SourceAccount(ID, username="u" * 256)),
        (account(display_name="😀"), SourceAccount(ID, display_name="😀")),
    ],
)
def test_an_answer_as_documented(answer: Answer, read: SourceAccount | None) -> None:
    assert read_account(answer) == read


@pytest.mark.parametrize("name", ["", " x", "x\n", "a\0b", "u" * 257, "\u202egnp.exe", "\ud800"])
def test_a_name_that_cannot_be_shown_turns_nobody_away(name: str) -> None:
    assert read_account(account(username=name, display_name=name)) == SourceAccount(ID)


# --- Neither ------------------------------------------------------------------

WRONG: dict[str, tuple[Answer, Fault]] = {
    "html": (Answer(200, b"<html><body>Welcome</body></html>"), Fault.NOT_JSON),
    "empty": (Answer(200, b""), Fault.NOT_JSON),
    "truncated": (Answer(200, YES[:-1]), Fault.NOT_JSON),
    "two of them": (Answer(200, NO + NO), Fault.NOT_JSON),
    "gbk": (Answer(200, YES.decode().replace("zhang", "张").encode("gbk")), Fault.NOT_JSON),
    "utf-16": (Answer(200, YES.decode().encode("utf-16")), Fault.NOT_JSON),
    "byte order mark": (Answer(200, b"\xef\xbb\xbf" + YES), Fault.NOT_JSON),
    "nested too deep": (Answer(200, b"[" * 60_000), Fault.NOT_JSON),
    "an endless number": (account(',"x":' + "1" * 5000), Fault.NOT_JSON),
    "nan": (account(',"x":NaN'), Fault.NOT_JSON),
    "infinity": (account(',"x":-Infinity'), Fault.NOT_JSON),
    "id twice": (account(',"id":"10002"'), Fault.NOT_JSON),
    "id twice, spelt otherwise": (account(',"\\u0069d":"10002"'), Fault.NOT_JSON),
    "disabled twice": (account(',"disabled":true'), Fault.NOT_JSON),
    "account twice": (Answer(200, b'{"account":null,"account":null}'), Fault.NOT_JSON),
    "too large": (Answer(200, None), Fault.TOO_LARGE),
    "null": (Answer(200, b"null"), Fault.WRONG_SHAPE),
    "true": (Answer(200, b"true"), Fault.WRONG_SHAPE),
    "a list": (Answer(200, b'[{"account":null}]'), Fault.WRONG_SHAPE),
    "nothing": (Answer(200, b"{}"), Fault.WRONG_SHAPE),
    "another field": (Answer(200, b'{"Account":null,"ok":true}'), Fault.WRONG_SHAPE),
    "account is true": (Answer(200, b'{"account":true}'), Fault.WRONG_SHAPE),
    "account is an id": (Answer(200, b'{"account":"10001"}'), Fault.WRONG_SHAPE),
    "account is a list": (Answer(200, b'{"account":[]}'), Fault.WRONG_SHAPE),
    "a yes without anything": (Answer(200, b'{"account":{}}'), Fault.NO_ID),
    "no id": (Answer(200, b'{"account":{"disabled":false,"username":"x"}}'), Fault.NO_ID),
    "id is null": (account(id=None), Fault.NO_ID),
    "id is empty": (account(id=""), Fault.NO_ID),
    "id is true": (account(id=True), Fault.BAD_ID),
    "id is a float": (account(id=1.0), Fault.BAD_ID),
    "id is a list": (account(id=[ID]), Fault.BAD_ID),
    "id too long": (account(id="x" * 129), Fault.BAD_ID),
    "id too long in bytes": (account(id="用" * 43), Fault.BAD_ID),
    "id is a long number": (account(id=10**128), Fault.BAD_ID),
    "id with a control character": (account(id="1\0"), Fault.BAD_ID),
    "id with a line end": (account(id="1\n2"), Fault.BAD_ID),
    "id with a lone surrogate": (account(id="\ud800"), Fault.BAD_ID),
    "id begins with a space": (account(id=" 1"), Fault.BAD_ID),
    "disabled missing": (Answer(200, b'{"account":{"id":"1"}}'), Fault.WRONG_SHAPE),
    "disabled is null": (account(disabled=None), Fault.WRONG_SHAPE),
    "disabled is a number": (account(disabled=0), Fault.WRONG_SHAPE),
    "disabled is text": (account(disabled="false"), Fault.WRONG_SHAPE),
    "username is a number": (account(username=1), Fault.WRONG_SHAPE),
    "display name is a list": (account(display_name=["x"]), Fault.WRONG_SHAPE),
    **{
        f"status {status}": (Answer(status, YES), fault)
        for status, fault in {
            **dict.fromkeys((201, 202, 204, 206, 400, 404, 405, 429, 500, 502, 503), Fault.STATUS),
            **dict.fromkeys((300, 301, 302, 303, 304, 307, 308, 399), Fault.REDIRECT),
            **dict.fromkeys((401, 403), Fault.KEY_REFUSED),
        }.items()
    },
}


@pytest.mark.parametrize("name", WRONG)
def test_an_answer_that_is_none(name: str) -> None:
    answer, fault = WRONG[name]
    read = read_account(answer)
    assert fault_of(read) is fault
    assert isinstance(read, Faulty)
    assert read.retry_after_s == 1.0
    assert ID not in read.detail


def test_the_account_must_be_the_one_asked_for() -> None:
    assert read_account(Answer(200, YES), asked_id=ID) == ACCOUNT
    assert read_account(account(id=7), asked_id="7") == SourceAccount("7")
    assert read_account(Answer(200, NO), asked_id=ID) is None
    for other in ("1000", "010001", "10001 "):
        assert fault_of(read_account(Answer(200, YES), asked_id=other)) is Fault.OTHER_ID


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["account", "id"]), inner),
    ).map(lambda said: json.dumps(said).encode())
)
def test_whatever_it_says_is_read(body: bytes) -> None:
    """And without "disabled" nothing is a yes."""
    read = read_account(Answer(200, body))
    assert read is None or isinstance(read, Faulty)


# --- How long to wait -----------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "wait_s"),
    [
        ("0", 1),
        ("1", 1),
        ("2", 2),
        ("60", 60),
        ("61", 60),
        ("999999999", 60),
        ("9999999999", 1),
        ("-5", 1),
        ("1.5", 1),
        ("٣", 1),
        ("", 1),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 1),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_followed_within_bounds(status: int, said: str, wait_s: int) -> None:
    read = read_account(Answer(status, b"", said))
    assert read == Faulty(Fault.STATUS, f"HTTP status {status}", wait_s)


def test_retry_after_of_other_answers_means_nothing() -> None:
    for status in (302, 401, 500):
        read = read_account(Answer(status, b"", "30"))
        assert isinstance(read, Faulty)
        assert read.retry_after_s == 1.0


# --- Told that a user has left ----------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        *(Answer(status, body) for status in (200, 201, 202) for body in (b"", b"{}", b"null")),
        Answer(204, b""),
        Answer(404, b"<html>"),
        Answer(410, None),
    ],
)
def test_it_was_told(answer: Answer) -> None:
    assert read_told(answer) is None


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Answer(200, b"<html>"), Fault.NOT_JSON),
        (Answer(200, b"OK"), Fault.NOT_JSON),
        (Answer(200, None), Fault.TOO_LARGE),
        (Answer(302, b""), Fault.REDIRECT),
        (Answer(401, b""), Fault.KEY_REFUSED),
        (Answer(500, b"{}"), Fault.STATUS),
        (Answer(503, b""), Fault.STATUS),
    ],
)
def test_it_was_not_told(answer: Answer, fault: Fault) -> None:
    assert fault_of(read_told(answer)) is fault


# --- Signing ----------------------------------------------------------------------


def test_a_signature_is_that_of_another_implementation() -> None:
    body = '{"id":"a\n\u00e9"}'.encode()
    headers = signed_headers(
        KEY.encode(), timestamp_s=1_700_000_000, request_id="r" * 32, path="/v1/get", body=body
    )
    mac = HMAC(KEY.encode(), hashes.SHA256())
    mac.update(b"v1\n1700000000\n" + b"r" * 32 + b"\nPOST\n/v1/get\n" + body)
    assert headers == {
        "Wxauth-Request-Id": "r" * 32,
        "Wxauth-Signature": f"t=1700000000,v1={mac.finalize().hex()}",
    }
