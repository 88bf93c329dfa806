"""However many refusals there are, and from wherever, few rows and little memory hold them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.refusals import APP, MINUTE, Played, play
from wxauth_server.auth import refusal_counts as module
from wxauth_server.auth.refusal_counts import MOST_APART, network_of


def test_a_flood_fills_neither_memory_nor_disk(tmp_path: Path) -> None:
    """100,000 refusals from 50,000 addresses: whoever is beyond the limit is one row."""

    async def scenario(played: Played) -> None:
        for number in range(100_000):
            who = number % 50_000
            played.note(f"198.51.{who >> 8}.{who & 0xFF}", f"o{who}")
            if number % 30_000 == 0:
                await played.refusals.flush()
        await played.refusals.flush()
        rows = played.rows()
        assert len(rows) == MOST_APART + 1
        others = [row for row in rows if row.client_address is None]
        assert [(row.openid, row.app_id, row.reason) for row in others] == [(None, APP, "ADDRESS")]
        assert sum(row.times for row in rows) == 100_000
        assert others[0].times == 100_000 - 2 * MOST_APART

        played.clock.ms += 60_000
        played.note("192.0.2.1")
        await played.refusals.flush()
        assert played.rows()[-1].client_address == "192.0.2.1", "the next minute begins anew"

    play(tmp_path, scenario)


def test_memory_is_bounded_while_the_store_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours of a flood; and nothing of it is lost but who it was."""
    monkeypatch.setattr(module, "MOST_WAITING", 3_000)

    async def scenario(played: Played) -> None:
        played.store.fail_before = True
        for minute in range(60):
            played.clock.ms = MINUTE + minute * 60_000
            for number in range(1_500):
                played.note(f"198.51.{number >> 8}.{number & 0xFF}")
        await played.refusals.flush()
        assert played.rows() == []
        played.store.fail_before = False
        await played.refusals.flush()
        rows = played.rows()
        assert len(rows) <= 3_000 + 60
        assert sum(row.times for row in rows) == 60 * 1_500

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("", ""),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("2001:0db8:0001:0002::1", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:0201", "192.0.2.1"),
        ("no:address", ""),
    ],
)
def test_an_ipv6_address_counts_by_its_network(address: str, network: str) -> None:
    """One subscriber has 2**64 of them: they would make as many rows."""
    assert network_of(address) == network


def test_an_attacker_with_a_network_is_one_row(tmp_path: Path) -> None:
    async def scenario(played: Played) -> None:
        for number in range(2_000):
            played.note(f"2001:db8:1:2::{number:x}")
        await played.refusals.flush()
        [row] = played.rows()
        assert (row.client_address, row.times) == ("2001:db8:1:2::/64", 2_000)

    play(tmp_path, scenario)
