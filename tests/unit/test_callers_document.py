"""What callers.json holds: everything of a book, and nothing that is not as we write it."""

from __future__ import annotations

import copy
import json
import string
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxauth_server.callers.caller import Caller, CallerBook, CallerToken, Role
from wxauth_server.callers.document import callers_of, content_of

CREATED = "2026-11-01T08:00:00.000Z"
DIGEST = "0123456789abcdef" * 4

_moments_ms = st.integers(0, 250_000_000_000_000)  # to the year 9892
_names = st.text(string.ascii_lowercase + string.digits + "._-", min_size=1, max_size=64).filter(
    lambda name: name[0].isalnum() and name[-1].isalnum() and name != "admin.token"
)
_labels = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=20)
_visible = st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="*")
_certificate_names = st.one_of(
    # The last has a letter: an IP address is no such name.
    st.lists(_labels, max_size=3).map(lambda labels: ".".join([*labels, "internal"])),
    st.text(_visible, min_size=1, max_size=80).map("spiffe://{}".format),
)
_digests = st.text("0123456789abcdef", min_size=64, max_size=64)
_tokens = st.builds(
    CallerToken, digest=_digests, created_ms=_moments_ms, ends_ms=st.none() | _moments_ms
)


@st.composite
def books(draw: st.DrawFn) -> CallerBook:
    names = draw(st.lists(_names, unique=True, max_size=4))
    tokens = iter(draw(st.lists(_tokens, unique_by=lambda token: token.digest, max_size=8)))
    certificate_names = iter(draw(st.lists(_certificate_names, unique=True, max_size=8)))
    callers = []
    for name in names:
        by_token = draw(st.booleans())
        number = draw(st.integers(0, 3))
        callers.append(
            Caller(
                name=name,
                roles=frozenset(draw(st.sets(st.sampled_from(Role), min_size=1))),
                created_ms=draw(_moments_ms),
                tokens=tuple(t for _, t in zip(range(number), tokens, strict=False))
                if by_token
                else (),
                certificate_names=()
                if by_token
                else tuple(n for _, n in zip(range(number), certificate_names, strict=False)),
            )
        )
    return CallerBook(callers)


@given(books())
def test_what_is_written_is_what_is_read(book: CallerBook) -> None:
    content = content_of(book)
    assert callers_of(content) == book
    assert content_of(callers_of(content)) == content
    assert set(content.decode()) <= set(string.printable)


def test_its_form() -> None:
    """Fixed: what other versions and configuration management write and read."""
    book = CallerBook(
        [
            Caller(
                "orders",
                frozenset({Role.SERVICE, Role.GATEWAY}),
                1_793_520_000_000,
                tokens=(CallerToken(DIGEST, 1_793_520_000_000, 1_793_520_000_001),),
            )
        ]
    )
    assert json.loads(content_of(book)) == {
        "format": 1,
        "callers": [
            {
                "name": "orders",
                "roles": ["gateway", "service"],
                "created": CREATED,
                "tokens": [
                    {"sha256": DIGEST, "created": CREATED, "ends": "2026-11-01T08:00:00.001Z"}
                ],
            }
        ],
    }


def test_other_time_zones_and_precisions() -> None:
    for moment in (
        "2026-11-01T16:00:00+08:00",
        "2026-11-01T08:00:00Z",
        "2026-11-01T08:00:00.0004Z",
    ):
        [caller] = callers_of(document({"created": moment})).callers
        assert caller.created_ms == 1_793_520_000_000


def document(changes: dict[str, Any]) -> bytes:
    """A document with one caller, in which these keys are changed; None takes one away."""
    caller = {"name": "orders", "roles": ["service"], "created": CREATED} | changes
    caller = {key: value for key, value in caller.items() if value is not None}
    return json.dumps({"format": 1, "callers": [caller]}).encode()


def refused(content: bytes) -> str:
    with pytest.raises(ValueError, match=r"\S") as error:
        callers_of(content)
    assert error.type is ValueError  # no child of it, whose text is a library's
    assert "pydantic" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Invalid JSON"),
        (b"nonsense", "Invalid JSON"),
        (b"\xff\xfe", "Invalid JSON"),
        (b"[" * 100_000, "Invalid JSON"),
        (b'{"format": 1, "callers": []', "Invalid JSON"),
        (b"\0" * 100, "Invalid JSON"),
        (b"[]", "object"),
        (b"null", "object"),
        (b"7", "object"),
        (b"{}", "format: Field required"),
        (b'{"format": 1}', "callers: Field required"),
        (b'{"format": 2, "callers": []}', "format: Input should be 1"),
        (b'{"format": "1", "callers": []}', "format: Input should be 1"),
        (b'{"format": 1, "callers": {}}', "callers: Input should be a valid array"),
        (b'{"format": 1, "callers": ""}', "callers: Input should be a valid array"),
        (b'{"format": 1, "callers": [[]]}', "callers.0"),
        (b'{"format": 1, "callers": ["name"]}', "callers.0"),
        (b'{"format": 1, "callers": [null]}', "callers.0"),
        (b'{"format": 1, "callers": [], "x": 1}', "x: there is no such key"),
    ],
)
def test_a_document_of_something_else(content: bytes, why: str) -> None:
    assert why in refused(content)


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("name", None, "name: Field required"),
        ("name", 7, "name: "),
        ("name", "", "name: a caller's name"),
        ("name", "Orders", "name: a caller's name"),
        ("name", "admin.token", "name: admin.token is what"),
        ("roles", None, "roles: Field required"),
        ("roles", [], "roles: "),
        ("roles", "service", "roles: Input should be a valid array"),
        ("roles", {"service": 1}, "roles: Input should be a valid array"),
        ("roles", ["root"], "'gateway', 'service' or 'admin'"),
        ("roles", [7], "'gateway', 'service' or 'admin'"),
        ("created", None, "created: Field required"),
        ("created", 1_793_520_000, "created: "),
        ("created", "yesterday", "created: "),
        ("created", "2026-11-01T08:00:00", "created: Input should have timezone"),
        ("created", "0001-01-01T00:00:00+14:00", "created: "),
        ("created", "9999-12-31T23:59:59-14:00", "created: "),
        ("certificate_names", "gateway.internal", "certificate_names: Input should be a valid ar"),
        ("certificate_names", ["*.internal"], "certificate_names.0: a certificate name is compar"),
        ("certificate_names", [7], "certificate_names.0: "),
        ("certificate_names", ["a", "a"], "orders and orders have the same certificate name, a"),
        ("tokens", {}, "tokens: Input should be a valid array"),
        ("tokens", [[]], "tokens.0: "),
        ("tokens", [["sha256"]], "tokens.0: "),
        ("tokens", [{}], "tokens.0.sha256: Field required"),
        ("tokens", [{"sha256": DIGEST}], "tokens.0.created: Field required"),
        ("tokens", [{"sha256": DIGEST, "created": CREATED, "token": "x"}], "no such key"),
        ("tokens", [{"sha256": DIGEST.upper(), "created": CREATED}], "tokens.0.sha256: "),
        ("tokens", [{"sha256": DIGEST + "\n", "created": CREATED}], "tokens.0.sha256: "),
        ("tokens", [{"sha256": DIGEST[1:], "created": CREATED}], "tokens.0.sha256: "),
        ("tokens", [{"sha256": DIGEST, "created": CREATED}] * 2, "have the same token"),
        ("token", "x", "token: there is no such key"),
    ],
)
def test_a_caller_that_is_not_as_we_write_it(key: str, value: object, why: str) -> None:
    assert why in refused(document({key: value}))


def test_a_caller_has_tokens_or_certificate_names() -> None:
    both = {"tokens": [{"sha256": DIGEST, "created": CREATED}], "certificate_names": ["a"]}
    assert "one of the two" in refused(document(both))


@pytest.mark.parametrize(
    ("key", "content"),
    [
        ("callers", b'{"callers": [{"x": 1}], "format": 1, "callers": []}'),
        ("format", b'{"format": 2, "format": 1, "callers": []}'),
        ("roles", document({}).replace(b'"roles"', b'"roles": ["admin"], "roles"')),
        ("name", document({}).replace(b'"name"', b'"na\\u006de": "shop", "name"')),
    ],
)
def test_a_key_that_is_there_twice(key: str, content: bytes) -> None:
    """One reader would take the first of the two, another one the last."""
    assert refused(content) == f"the key {key} stands twice in an object"


def test_a_token_that_somebody_wrote_there_is_not_repeated() -> None:
    token = "wxc_" + "k" * 43
    assert token not in refused(document({"tokens": [{"sha256": token, "created": CREATED}]}))


# What stands in a document, and what may stand in its place.
_VALUES: tuple[object, ...] = (
    *(None, True, 0, -1, 7.5, 10**40, "", "x", [], {}, [[]], [None], ["a", "a"], [{}]),
    *("orders", "admin.token", "\ud800", "\0", "é" * 70, ["*.internal"], ["service", "root"]),
    *(CREATED, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-02-30T00:00:00Z"),
    *("2026-11-01T08:00:00", "2026-11-01T08:00:00+99:00", "1793520000", DIGEST, DIGEST.upper()),
)
_KEYS = ("name", "roles", "created", "tokens", "certificate_names", "sha256", "ends", "x")


def places(part: object) -> Iterator[tuple[Any, Any]]:
    """Every dictionary and list below, with each of its keys or indexes."""
    if isinstance(part, dict | list):
        for key in part if isinstance(part, dict) else range(len(part)):
            yield part, key
            yield from places(part[key])


@st.composite
def nearly_written(draw: st.DrawFn) -> bytes:
    """What we write, in which one to three things were changed, taken away or repeated."""
    written = json.loads(content_of(draw(books().filter(lambda book: book.callers))))
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(written))[::-1]  # the first are drawn most: not "format"
        if not found:
            break
        part, key = found[draw(st.sampled_from(range(len(found))))]
        way = draw(st.sampled_from(("change", "take away", "add")))
        value = copy.deepcopy(draw(st.sampled_from(_VALUES)))  # of which parts may change next
        if way == "change":
            part[key] = value
        elif way == "take away":
            del part[key]
        elif isinstance(part, list):
            part.append(copy.deepcopy(part[key]) if draw(st.booleans()) else value)
        else:
            part[draw(st.sampled_from(_KEYS))] = value
    return json.dumps(written).encode()


@given(nearly_written() | st.binary(max_size=200))
def test_nothing_but_a_value_error(content: bytes) -> None:
    """Another one would end the look at the file in a server that runs."""
    try:
        book = callers_of(content)
    except ValueError:
        refused(content)
        return
    assert callers_of(content_of(book)) == book
