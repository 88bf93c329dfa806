"""Promises of an `sql` account source about time and number."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.contract.company_database import Company
from tests.contract.open_sql_source import HASH, OpenSource, alarms
from wxauth_server.deadline import Deadline
from wxauth_server.errors import AccountSourceUnavailable, Overloaded


class LimitPromises:
    """Of every database."""

    def test_a_slow_query_ends_in_time(
        self, company: Company, open_source: OpenSource, caplog: pytest.LogCaptureFixture
    ) -> None:
        """And its connection goes on."""
        company.add(1, "zhangsan", HASH)
        source = open_source(verify_query=company.slow_query, timeout_s=0.3, connections=1)
        assert source.get("1") is not None
        began = time.monotonic()
        assert type(source.refusal("zhangsan")) is AccountSourceUnavailable
        assert 0.2 < time.monotonic() - began < 0.3 + 0.5
        assert source.get("1") is not None
        assert [(told["call"], told["kind"]) for told in alarms(caplog)] == [
            ("verify_query", "no_answer")
        ]

    def test_a_caller_in_a_hurry(self, company: Company, open_source: OpenSource) -> None:
        """Is let go, and says nothing about the database."""
        company.add(1, "zhangsan", HASH)
        source = open_source(verify_query=company.slow_query, timeout_s=0.5)

        async def in_a_hurry(seconds: float) -> None:
            with pytest.raises(AccountSourceUnavailable):
                await source.source.verify("zhangsan", "password", Deadline(seconds))

        began = time.monotonic()
        source.run(in_a_hurry(0.1))
        source.run(in_a_hurry(0))
        assert time.monotonic() - began < 0.4
        assert source.get("1") is not None

    def test_more_calls_than_connections(self, company: Company, open_source: OpenSource) -> None:
        """Some wait, and the rest are refused at once."""
        company.add(1, "zhangsan", HASH)
        source = open_source(connections=2, verify_query=company.slow_query, timeout_s=0.5)

        async def all_at_once() -> list[object]:
            calls = [source.source.get("1", Deadline(5)) for _ in range(8)]
            return list(await asyncio.gather(*calls, return_exceptions=True))

        assert [getattr(found, "id", found) for found in source.run(all_at_once())] == ["1"] * 8

        async def beyond() -> tuple[bool, float]:
            slow = [
                asyncio.create_task(source.source.verify("zhangsan", "password", Deadline(5)))
                for _ in range(8)
            ]
            await asyncio.sleep(0)  # each has its place now
            full = source.source.full
            began = time.monotonic()
            with pytest.raises(Overloaded):
                await source.source.get("1", Deadline(5))
            took = time.monotonic() - began
            ended = await asyncio.gather(*slow, return_exceptions=True)
            assert {type(error) for error in ended} == {AccountSourceUnavailable}
            return full, took

        full, took = source.run(beyond())
        assert full
        assert took < 0.25  # and not the half second of the others
        assert not source.source.full
