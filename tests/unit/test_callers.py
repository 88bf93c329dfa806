"""Callers: their names, what proves them, and how that changes."""

from __future__ import annotations

import pytest

from wxauth_server.callers.caller import (
    Caller,
    CallerBook,
    CallerToken,
    Role,
    check_certificate_name,
    check_name,
)
from wxauth_server.callers.tokens import CALLER_PREFIX, digest_of, new_token

NOW_MS = 1_790_000_000_000


def with_tokens(name: str, *tokens: CallerToken) -> Caller:
    return Caller(name, frozenset({Role.SERVICE}), NOW_MS, tokens=tokens)


def with_certificate(name: str, *names: str) -> Caller:
    return Caller(name, frozenset({Role.SERVICE}), NOW_MS, certificate_names=names)


# --- Names --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "7", "orders", "orders-eu.2_b", "x" * 64, "a" + "-" * 62])
def test_a_name(name: str) -> None:
    if name.endswith("-"):
        name += "a"
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "Orders",
        "orders ",
        "-orders",
        "orders.",
        "x" * 65,
        "订单",
        "a\n",
        "a/b",
        "a b",
        "\0",
    ],
)
def test_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 64 characters"):
        check_name(name)


def test_nobody_passes_for_the_owner_of_the_servers_own_token() -> None:
    with pytest.raises(ValueError, match=r"admin\.token is what"):
        check_name("admin.token")


@pytest.mark.parametrize(
    "name",
    [
        "localhost",
        "gateway.internal",
        "Gateway_1.internal",
        "7.internal",
        "spiffe://shop.example/ns/prod/sa/orders",
        "urn:service:orders",
        "x" * 255,
    ],
)
def test_a_certificate_name(name: str) -> None:
    assert check_certificate_name(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("*.internal", "wildcards"),
        ("spiffe://shop.example/*", "wildcards"),
        ("10.0.0.7", "no IP address"),
        ("2001:db8::7", "no IP address"),
        ("[::1]", "no IP address"),
        ("", "DNS name"),
        ("a..b", "DNS name"),
        ("a,b", "DNS name"),
        ("gateway:8080", "DNS name"),
        ("CN=gateway", "DNS name"),
        ("DNS:gateway", "DNS name"),
        ("gateway internal", "DNS name"),
        ("gateway\n", "DNS name"),
        ("网关.internal", "DNS name"),
        ("spiffe://a b", "DNS name"),
        ("x" * 256, "at most 255"),
    ],
)
def test_no_certificate_name(name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_certificate_name(name)


# --- The book -------------------------------------------------------------------


def test_who_has_a_token() -> None:
    tokens = [new_token(CALLER_PREFIX) for _ in range(3)]
    ends = NOW_MS + 1
    orders = with_tokens(
        "orders",
        CallerToken(digest_of(tokens[0]), NOW_MS, ends_ms=ends),
        CallerToken(digest_of(tokens[1]), NOW_MS),
    )
    shop = with_tokens("shop", CallerToken(digest_of(tokens[2]), NOW_MS))
    book = CallerBook([shop, orders])

    assert [book.of_token(token, NOW_MS) for token in tokens] == [orders, orders, shop]
    assert [book.of_token(token, ends) for token in tokens] == [None, orders, shop]
    for other in ("", "wxc_", new_token(CALLER_PREFIX), "密码", "\udcff", digest_of(tokens[2])):
        assert book.of_token(other, NOW_MS) is None


def test_whose_certificate_it_is() -> None:
    gateway = with_certificate("gateway", "gateway.internal", "spiffe://shop/gateway")
    orders = with_certificate("orders", "orders.internal")
    book = CallerBook([gateway, orders])

    assert book.of_certificate(["x", "gateway.internal"]) is gateway
    assert book.of_certificate(["spiffe://shop/gateway", "gateway.internal"]) is gateway
    for names in (
        [],
        ["internal"],
        ["GATEWAY.internal"],
        ["a.gateway.internal"],
        ["*.internal"],
        ["gateway.internal", "orders.internal"],  # two callers in one
    ):
        assert book.of_certificate(names) is None


def test_callers_share_nothing() -> None:
    token = CallerToken(digest_of("x"), NOW_MS)
    with pytest.raises(ValueError, match="two callers a"):
        CallerBook([with_tokens("a"), with_tokens("a")])
    with pytest.raises(ValueError, match="a and b have the same token"):
        CallerBook([with_tokens("b", token), with_tokens("a", token)])
    with pytest.raises(ValueError, match="a and a have the same token"):
        CallerBook([with_tokens("a", token, token)])
    with pytest.raises(ValueError, match="a and b have the same certificate name, n"):
        CallerBook([with_certificate("b", "m", "n"), with_certificate("a", "n")])


def test_books_of_the_same_callers_are_equal() -> None:
    """Else a server would tell of an exchange at each touch of the file."""
    callers = [with_certificate("b", "m"), with_tokens("a")]
    assert CallerBook(callers) == CallerBook(reversed(callers))
    assert hash(CallerBook(callers)) == hash(CallerBook(reversed(callers)))
    assert CallerBook(callers) != CallerBook(callers[:1])


def test_a_book_with_and_without_a_caller() -> None:
    book = CallerBook([with_certificate("a", "m"), with_certificate("b", "n")])
    other = with_certificate("a", "o")
    assert book.with_caller(other).callers == (other, book.callers[1])
    assert book.without("a").callers == book.callers[1:]
    assert book.without("nobody") == book
    assert book.named("a") == with_certificate("a", "m"), "it never changes"
    with pytest.raises(ValueError, match="same certificate name"):
        book.with_caller(with_certificate("a", "n"))


# --- Rotation -------------------------------------------------------------------


def test_a_new_token_ends_the_old_ones_and_prolongs_none() -> None:
    first, second = new_token(CALLER_PREFIX), new_token(CALLER_PREFIX)
    soon = CallerToken(digest_of("soon"), NOW_MS, ends_ms=NOW_MS + 5)
    orders = with_tokens("orders", soon, CallerToken(digest_of(first), NOW_MS))

    changed = orders.with_new_token(second, now_ms=NOW_MS + 1, old_end_ms=NOW_MS + 10)

    assert [token.ends_ms for token in changed.tokens] == [NOW_MS + 5, NOW_MS + 10, None]
    book = CallerBook([changed])
    assert book.of_token(first, NOW_MS + 9) is changed
    assert book.of_token(first, NOW_MS + 10) is None
    assert book.of_token(second, NOW_MS + 10) is changed


def test_ended_tokens_are_dropped_and_their_callers_kept() -> None:
    ended = CallerToken(digest_of("ended"), NOW_MS, ends_ms=NOW_MS)
    good = CallerToken(digest_of("good"), NOW_MS, ends_ms=NOW_MS + 1)
    book = CallerBook([with_tokens("a", ended, good), with_tokens("b", ended_too())])
    kept = book.without_ended_tokens(NOW_MS)
    assert kept.callers == (with_tokens("a", good), with_tokens("b"))
    assert [caller.can_prove_itself(NOW_MS) for caller in kept.callers] == [True, False]
    assert with_certificate("c", "n").can_prove_itself(NOW_MS)


def ended_too() -> CallerToken:
    return CallerToken(digest_of("ended too"), NOW_MS, ends_ms=NOW_MS - 1)
