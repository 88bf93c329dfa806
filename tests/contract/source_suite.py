"""What an account source must keep to. A source is what passes this suite.

A test class of a source inherits `SourceSuite` and gives the fixture
`open_source`: a source that knows the users below and no others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from wxauth_server.accounts.sources.source import AccountSource
from wxauth_server.deadline import Deadline
from wxauth_server.errors import CredentialsInvalid

#: Opens the source, within the event loop that is to use it.
OpenSource = Callable[[], AccountSource]

NAME = "members"
ID, USERNAME, DISPLAY_NAME, PASSWORD = "10001", "zhangsan", "张三", "pwd123456"
DISABLED_ID, DISABLED_USERNAME, DISABLED_PASSWORD = "10002", "lisi", "pwd654321"
NO_ID, NO_USERNAME = "10003", "wangwu"

#: For a machine that is busy.
PATIENCE_S = 5.0

_Result = TypeVar("_Result")

#: Names and passwords that are nobody's, however they are passed on.
ODD_TEXTS = [
    "",
    " ",
    "' OR 1=1 --",
    '"}, {"',
    "%",
    "*",
    "zhangsan\0",
    " zhangsan",
    "张三",
    "😀",
    "null",
    "10001",
    "x" * 256,
]


class SourceSuite:
    """The promises of a source."""

    @pytest.fixture
    def open_source(self) -> OpenSource:
        """A source gives its own."""
        raise NotImplementedError

    @pytest.fixture
    def ask(self, open_source: OpenSource) -> Asking:
        return Asking(open_source)

    def test_it_has_its_name_and_room(self, ask: Asking) -> None:
        async def name_and_room(source: AccountSource) -> tuple[str, bool]:
            return source.name, source.full

        assert ask(name_and_room) == (NAME, False)

    def test_the_right_password(self, ask: Asking) -> None:
        account = ask(lambda source: source.verify(USERNAME, PASSWORD, soon())).account
        assert (account.id, account.username) == (ID, USERNAME)
        assert (account.display_name, account.enabled) == (DISPLAY_NAME, True)

    @pytest.mark.parametrize(
        ("username", "password"),
        [
            (USERNAME, "wrong password"),
            (USERNAME, PASSWORD + " "),
            (USERNAME, PASSWORD.upper()),
            (USERNAME, DISABLED_PASSWORD),
            (NO_USERNAME, PASSWORD),
            (DISABLED_USERNAME, DISABLED_PASSWORD),
            (DISABLED_USERNAME, "wrong password"),
            *((odd, PASSWORD) for odd in ODD_TEXTS),
            *((USERNAME, odd) for odd in ODD_TEXTS),
        ],
    )
    def test_anything_else_is_refused_alike(
        self, username: str, password: str, ask: Asking
    ) -> None:
        with pytest.raises(CredentialsInvalid) as refused:
            ask(lambda source: source.verify(username, password, soon()))
        assert str(refused.value) == CredentialsInvalid.message
        assert refused.value.retry_after_s is None

    def test_an_attempt_that_is_not_allowed(self, ask: Asking) -> None:
        with pytest.raises(CredentialsInvalid):
            ask(lambda source: source.verify(USERNAME, PASSWORD, soon(), allowed=False))
        with pytest.raises(CredentialsInvalid):
            ask(lambda source: source.verify_owner(ID, USERNAME, PASSWORD, soon(), allowed=False))

    def test_the_owner(self, ask: Asking) -> None:
        verified = ask(lambda source: source.verify_owner(ID, USERNAME, PASSWORD, soon()))
        assert verified.account.id == ID

    @pytest.mark.parametrize(
        ("account_id", "username", "password"),
        [
            (ID, USERNAME, "wrong password"),
            (DISABLED_ID, DISABLED_USERNAME, DISABLED_PASSWORD),
            (NO_ID, NO_USERNAME, PASSWORD),
            # What belongs to somebody else proves nothing.
            (DISABLED_ID, DISABLED_USERNAME, PASSWORD),
            (NO_ID, USERNAME, PASSWORD),
        ],
    )
    def test_who_is_not_the_owner(
        self, account_id: str, username: str, password: str, ask: Asking
    ) -> None:
        with pytest.raises(CredentialsInvalid):
            ask(lambda source: source.verify_owner(account_id, username, password, soon()))

    def test_accounts_by_their_ids(self, ask: Asking) -> None:
        found = ask(lambda source: source.get(ID, soon()))
        assert found is not None
        assert (found.id, found.username, found.enabled) == (ID, USERNAME, True)
        assert found.display_name == DISPLAY_NAME
        disabled = ask(lambda source: source.get(DISABLED_ID, soon()))
        assert disabled is not None
        assert (disabled.id, disabled.enabled) == (DISABLED_ID, False)

    @pytest.mark.parametrize(
        "account_id", [NO_ID, USERNAME, *(odd for odd in ODD_TEXTS if odd != ID)]
    )
    def test_an_id_that_nobody_has(self, account_id: str, ask: Asking) -> None:
        assert ask(lambda source: source.get(account_id, soon())) is None

    def test_that_a_user_has_left_may_be_said_twice(self, ask: Asking) -> None:
        for _ in range(2):
            ask(lambda source: source.tell_deleted(NO_ID, soon()))

    def test_many_at_once(self, ask: Asking) -> None:
        async def scenario(source: AccountSource) -> list[str]:
            verified = await asyncio.gather(
                *(source.verify(USERNAME, PASSWORD, soon()) for _ in range(4)),
            )
            return [one.account.id for one in verified]

        assert ask(scenario) == [ID] * 4


class Asking:
    """Opens a source, asks it, and closes it."""

    def __init__(self, open_source: OpenSource) -> None:
        self._open_source = open_source

    def __call__(self, question: Callable[[AccountSource], Awaitable[_Result]]) -> _Result:
        async def asking() -> _Result:
            source = self._open_source()
            try:
                return await question(source)
            finally:
                await source.close()

        return asyncio.run(asking())


def soon() -> Deadline:
    return Deadline(PATIENCE_S)
