"""Sealing: what opens, and everything that must not."""

from __future__ import annotations

import logging
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from tests.canary import CANARY
from wxauth_server.keyring import Key, KeyRing, KeyRingUnusable, Purpose, State
from wxauth_server.sealing import CannotOpen, Content, Sealed, Sealer

SECRET = bytes(range(32))
OTHER = bytes(range(1, 33))
APP, OPENID = "wx0123456789abcdef", "oAbCdEfGhIjKlMnOpQrStUvWxYz0"
SESSION_KEY = CANARY.keep("c2VhbGluZyB0ZXN0IGtleQ==")

#: Made by hand: lengths of 4 bytes, most significant first, each before its text.
ASSOCIATED = (
    b"\x00\x00\x00\x12wx0123456789abcdef"
    b"\x00\x00\x00\x1coAbCdEfGhIjKlMnOpQrStUvWxYz0"
    b"\x00\x00\x00\x0bsession_key"
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def ring(*keys: tuple[str, bytes]) -> KeyRing:
    """A ring whose first seal key is active."""
    return KeyRing(
        Key(Purpose.SEAL, key_id, State.OLD if number else State.ACTIVE, secret)
        for number, (key_id, secret) in enumerate(keys)
    )


SEALER = Sealer(ring(("seal-1", SECRET)))


def seal(sealer: Sealer = SEALER, *, app_id: str = APP, openid: str = OPENID) -> Sealed:
    return sealer.seal(Content.SESSION_KEY, app_id=app_id, openid=openid, plaintext=SESSION_KEY)


def opened(
    sealed: Sealed, sealer: Sealer = SEALER, *, app_id: str = APP, openid: str = OPENID
) -> str:
    return sealer.open(Content.SESSION_KEY, app_id=app_id, openid=openid, sealed=sealed)


def refused(
    sealed: Sealed, sealer: Sealer = SEALER, *, app_id: str = APP, openid: str = OPENID
) -> None:
    """That it does not open, and that the error tells nothing."""
    with pytest.raises(CannotOpen) as refusal:
        opened(sealed, sealer, app_id=app_id, openid=openid)
    assert str(refusal.value) == "a sealed value does not open"
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


# --- What opens ---------------------------------------------------------------


@given(app_id=NAMES, openid=NAMES, plaintext=st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_sealed_opens(app_id: str, openid: str, plaintext: str) -> None:
    whose = {"app_id": app_id, "openid": openid}
    sealed = SEALER.seal(Content.SESSION_KEY, **whose, plaintext=plaintext)
    assert sealed.key_id == "seal-1"
    assert SEALER.open(Content.SESSION_KEY, **whose, sealed=sealed) == plaintext


def test_the_form_is_the_one_that_is_written_down() -> None:
    """Opened and sealed by hand: a form that changes would lose what is stored."""
    _, content = seal()
    nonce, ciphertext = content[:12], content[12:]
    assert AESGCM(SECRET).decrypt(nonce, ciphertext, ASSOCIATED) == SESSION_KEY.encode()
    assert len(content) == 12 + len(SESSION_KEY) + 16

    by_hand = bytes(12) + AESGCM(SECRET).encrypt(bytes(12), SESSION_KEY.encode(), ASSOCIATED)
    assert opened(Sealed("seal-1", by_hand)) == SESSION_KEY


def test_the_same_is_never_sealed_alike() -> None:
    """A nonce that comes twice under one key gives both texts away."""
    sealed = {seal().ciphertext for _ in range(1_000)}
    assert len({content[:12] for content in sealed}) == 1_000
    assert all(SESSION_KEY.encode() not in content for content in sealed)


def test_an_old_key_opens_and_the_active_one_seals() -> None:
    before = seal()
    rotated = Sealer(ring(("seal-2", OTHER), ("seal-1", SECRET)))
    assert opened(before, rotated) == SESSION_KEY
    assert seal(rotated).key_id == "seal-2"
    assert opened(seal(rotated), rotated) == SESSION_KEY


def test_a_ring_without_a_seal_key_seals_nothing() -> None:
    old = KeyRing([Key(Purpose.PEPPER, "pepper-1", State.ACTIVE, SECRET)])
    with pytest.raises(KeyRingUnusable, match="wxauth keys add seal --activate"):
        Sealer(old)


def test_many_threads_share_a_sealer() -> None:
    rotated = Sealer(ring(("seal-2", OTHER), ("seal-1", SECRET)))
    old = [seal(openid=f"o{number}") for number in range(8)]

    def work(number: int) -> bool:
        openid = f"o{number % 8}"
        new = seal(rotated, openid=openid)
        return all(
            opened(sealed, rotated, openid=openid) == SESSION_KEY
            for sealed in (new, old[number % 8])
            for _ in range(50)
        )

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(64)))


# --- What does not ------------------------------------------------------------


@pytest.mark.parametrize("position", range(12 + len(SESSION_KEY) + 16))
def test_no_changed_byte_opens(position: int) -> None:
    key_id, content = seal()
    for mask in (0x01, 0x80, 0xFF):
        changed = bytearray(content)
        changed[position] ^= mask
        refused(Sealed(key_id, bytes(changed)))


@given(changed=st.binary(max_size=64))
def test_no_made_up_bytes_open(changed: bytes) -> None:
    refused(Sealed("seal-1", changed))


@given(length=st.integers(0, 51), rest=st.binary(max_size=4))
def test_nothing_cut_or_lengthened_opens(length: int, rest: bytes) -> None:
    key_id, content = seal()
    refused(Sealed(key_id, content[:length]))
    refused(Sealed(key_id, rest[:3] + b"\0" + content))
    refused(Sealed(key_id, content + b"\0" + rest))


@pytest.mark.parametrize(
    ("app_id", "openid"),
    [
        ("wxffffffffffffffff", OPENID),
        (APP, "oSomebodyElse"),
        (APP, OPENID.lower()),
        (APP, ""),
        (OPENID, APP),
        (APP + OPENID[:1], OPENID[1:]),
    ],
)
def test_what_was_moved_does_not_open(app_id: str, openid: str) -> None:
    refused(seal(), app_id=app_id, openid=openid)


@given(first=st.tuples(NAMES, NAMES), second=st.tuples(NAMES, NAMES))
def test_it_opens_for_nobody_else(first: tuple[str, str], second: tuple[str, str]) -> None:
    sealed = seal(app_id=first[0], openid=first[1])
    if first == second:
        assert opened(sealed, app_id=second[0], openid=second[1]) == SESSION_KEY
    else:
        refused(sealed, app_id=second[0], openid=second[1])


@pytest.mark.parametrize("content", [b"phone_number", b"session_ke", b""])
def test_another_content_does_not_open(content: bytes) -> None:
    """What another version sealed with the same key, for the same user."""
    nonce = secrets.token_bytes(12)
    head = ASSOCIATED.removesuffix(b"\x00\x00\x00\x0bsession_key")
    associated = head + len(content).to_bytes(4, "big") + content
    sealed = nonce + AESGCM(SECRET).encrypt(nonce, SESSION_KEY.encode(), associated)
    refused(Sealed("seal-1", sealed))


def test_no_foreign_key_opens() -> None:
    """Another secret of the same id, a key that the ring lacks, one of another purpose."""
    refused(seal(), Sealer(ring(("seal-1", OTHER))))
    refused(seal(), Sealer(ring(("seal-2", OTHER), ("seal-3", SECRET))))
    refused(Sealed("seal-3", seal().ciphertext))
    keys = [
        Key(Purpose.SEAL, "seal-2", State.ACTIVE, OTHER),
        Key(Purpose.PEPPER, "seal-1", State.ACTIVE, SECRET),
    ]
    refused(seal(), Sealer(KeyRing(keys)))


@pytest.mark.parametrize(
    ("sealed", "cause"),
    [
        (Sealed("seal-9", bytes(60)), "the key ring lacks the key"),
        (Sealed("seal-1", bytes(27)), "cut"),
        (Sealed("seal-1", b""), "cut"),
        (Sealed("seal-1", bytes(60)), "changed or moved"),
    ],
)
def test_a_refusal_is_an_alarm(
    caplog: pytest.LogCaptureFixture, sealed: Sealed, cause: str
) -> None:
    refused(sealed)
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "sealed value does not open")
    said = vars(record)
    assert (said["app_id"], said["key_id"], said["cause"]) == (APP, sealed.key_id, cause)
    assert OPENID not in repr(said)
    assert SECRET.hex() not in repr(said)


def test_what_opens_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    opened(seal())
    assert caplog.records == []
