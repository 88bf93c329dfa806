"""wxauth doctor: the key ring."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.configured import app, nothing_set
from tests.unit.examined import DATA, do, examined, make_installation, refused
from wxauth_server.config import load_configuration
from wxauth_server.doctor.findings import Check, Status
from wxauth_server.keyring import (
    Key,
    Purpose,
    State,
    changing_keyring,
    create_keyring,
)
from wxauth_server.store.opening import open_store

__all__ = ["nothing_set"]

RING = DATA / "keyring.json"


@pytest.fixture(autouse=True)
def installation(nothing_set: Path) -> None:
    make_installation()


def test_a_key_ring_in_order() -> None:
    report = examined()
    for check in (Check.KEYRING_FILE, Check.KEYRING_COMPLETE, Check.KEYRING_WAITING):
        assert report.only(check).status is Status.OK
    assert report.only(Check.KEYRING_NEEDED).status is Status.OK


def test_no_key_ring_beside_a_database() -> None:
    RING.rename("kept.json")
    report = examined()
    told = refused(report, Check.KEYRING_FILE, "does not exist, but the database does")
    assert "put back" in told.what_to_do
    assert report.only(Check.KEYRING_NEEDED).status is Status.SKIPPED

    os.replace("kept.json", RING)
    assert examined().only(Check.KEYRING_FILE).status is Status.OK


def test_no_key_ring_yet() -> None:
    nowhere = examined(store={"directory": Path("new")})
    assert refused(nowhere, Check.KEYRING_FILE).what_to_do == "wxauth keys init"
    assert not Path("new").exists()


def test_a_link_to_itself() -> None:
    RING.rename("kept.json")
    RING.symlink_to(RING.name)
    told = refused(examined(), Check.KEYRING_FILE, "Too many levels of symbolic links")
    assert "keyring.file" in told.what_to_do


def test_a_key_ring_that_others_can_read() -> None:
    RING.chmod(0o644)
    do(refused(examined(), Check.KEYRING_FILE, "can be read by others", "0644"))
    assert examined().only(Check.KEYRING_FILE).status is Status.OK


def test_what_is_no_key_ring() -> None:
    RING.write_bytes(b"{}")
    refused(examined(), Check.KEYRING_FILE, "is not a key ring")


def test_a_purpose_without_an_active_key() -> None:
    with changing_keyring(RING) as file:
        file.replace(file.ring.without(file.ring.active(Purpose.SEAL)))
    told = refused(examined(), Check.KEYRING_COMPLETE, "no active seal key")
    assert told.what_to_do == "wxauth keys add seal --activate"

    with changing_keyring(RING) as file:
        file.replace(file.ring.with_key(Key.create(Purpose.SEAL, State.ACTIVE)))
    assert examined().only(Check.KEYRING_COMPLETE).status is Status.OK


def test_a_key_that_waits() -> None:
    key = Key.create(Purpose.PEPPER, State.NEW)
    with changing_keyring(RING) as file:
        file.replace(file.ring.with_key(key))
    told = refused(examined(), Check.KEYRING_WAITING, key.id, status=Status.WARNING)
    assert f"wxauth keys activate {key.id}" in told.what_to_do


def test_the_key_ring_of_another_database() -> None:
    store, _ = open_store(load_configuration(store={"directory": DATA}))
    store.close()
    RING.rename("kept.json")
    create_keyring(RING)
    told = refused(examined(), Check.KEYRING_NEEDED, "which the key ring lacks")
    assert "put back" in told.what_to_do

    os.replace("kept.json", RING)
    assert examined().only(Check.KEYRING_NEEDED).status is Status.OK


def test_where_the_key_ring_lies() -> None:
    beside = examined().only(Check.KEYRING_PLACE)
    assert (beside.status, beside.what_to_do[:6]) == (Status.OK, "better")

    Path("elsewhere").mkdir(0o700)
    os.replace(RING, "elsewhere/keys.json")
    apart = examined(app() + '[keyring]\nfile = "elsewhere/keys.json"\n')
    assert apart.only(Check.KEYRING_PLACE).what_to_do == ""
