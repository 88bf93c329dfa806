"""Password hashes: what matches, what is refused, and how much work a refusal is."""

from __future__ import annotations

import base64
import hashlib
import hmac

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wxauth_server.accounts.passwords import (
    PasswordHasher,
    PasswordRefused,
    check_new_password,
    is_malformed,
    pepper_id_of,
    take_over_bcrypt,
)
from wxauth_server.keyring import Key, KeyRing, Purpose, State

COST = 4
PEPPER = bytes(range(32))
#: A hash of nothing that anybody knows the password of, of the right form.
FORM = "$2b$04$" + "." * 53

# From the test program of crypt_blowfish (Openwall, public domain).
VECTORS = [
    ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    ("U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"),
    ("U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
    (
        (
            "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
            "0123456789chars after 72 are ignored"
        ),
        "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
    ),
]


def ring(*peppers: tuple[str, bytes]) -> KeyRing:
    """A ring whose first pepper is active."""
    return KeyRing(
        [
            *(
                Key(Purpose.PEPPER, key_id, State.OLD if number else State.ACTIVE, secret)
                for number, (key_id, secret) in enumerate(peppers)
            ),
            Key(Purpose.DIGEST, "digest-1", State.ACTIVE, bytes(32)),
        ]
    )


def hasher(*, cost: int = COST, pepper: bytes = PEPPER) -> PasswordHasher:
    return PasswordHasher(ring(("pepper-1", pepper)), cost=cost)


def foreign(password: bytes, *, cost: int = COST, prefix: str = "2b") -> str:
    """What another system stored, taken over."""
    made = bcrypt.hashpw(password, bcrypt.gensalt(cost)).decode()
    return take_over_bcrypt(made.replace("$2b$", f"${prefix}$"))


# --- Our scheme -----------------------------------------------------------------


def test_the_stored_form_is_as_documented() -> None:
    """bcrypt over base64(HMAC-SHA-256(pepper, NFC(password))), and both ids in front."""
    stored = hasher().hash("correct horse")
    scheme, pepper_id, hashed = stored.split("$", 2)
    assert (scheme, pepper_id, hashed[:7]) == ("bcrypt-hmac-sha256", "pepper-1", "$2b$04$")
    keyed = base64.b64encode(hmac.new(PEPPER, b"correct horse", hashlib.sha256).digest())
    assert bcrypt.checkpw(keyed, hashed.encode())
    assert pepper_id_of(stored) == "pepper-1"
    assert not is_malformed(stored)


def test_a_hash_of_another_day_still_matches() -> None:
    """A fixed vector: what is stored today must verify in ten years."""
    keyed = base64.b64encode(hmac.new(PEPPER, "密码 café".encode(), hashlib.sha256).digest())
    hashed = bcrypt.hashpw(keyed, b"$2b$04$CCCCCCCCCCCCCCCCCCCCC.").decode()
    assert hashed == "$2b$04$CCCCCCCCCCCCCCCCCCCCC.xD3NNI.spd1QB8erT1ZWG1F7QcJfDHe"
    stored = f"bcrypt-hmac-sha256$pepper-1${hashed}"
    assert hasher().verify(stored, "密码 café")
    assert not hasher().verify(stored, "密码 cafe")


def test_the_same_password_is_never_hashed_alike() -> None:
    one = hasher()
    assert one.hash("correct horse") != one.hash("correct horse")


@pytest.mark.parametrize("length", [8, 25, 64, 73, 200, 256])
@pytest.mark.parametrize("character", ["a", "é", "密", "\U0001f600"])
def test_every_character_counts_to_the_last(character: str, length: int) -> None:
    """Rows 21 and F6: bcrypt alone would stop at 72 bytes."""
    password = character * length
    stored = hasher().hash(password)
    assert hasher().verify(stored, password)
    assert not hasher().verify(stored, password[:-1] + "x")
    assert not hasher().verify(stored, password[:-1])
    assert not hasher().verify(stored, password + character)


@pytest.mark.parametrize(
    ("composed", "decomposed"),
    [
        ("café", "cafe\u0301"),
        ("\u00c5", "\u212b"),
        ("한글", "\u1112\u1161\u11ab\u1100\u1173\u11af"),
    ],
)
def test_spellings_that_are_the_same_text_are_the_same_password(
    composed: str, decomposed: str
) -> None:
    assert hasher().verify(hasher().hash(composed), decomposed)
    assert hasher().verify(hasher().hash(decomposed), composed)


@pytest.mark.parametrize(("one", "other"), [("ﬁ", "fi"), ("Ａ", "A"), ("²", "2"), ("a", "A")])
def test_spellings_that_only_look_alike_differ(one: str, other: str) -> None:
    """NFC, not NFKC, and case counts."""
    assert not hasher().verify(hasher().hash(one), other)


def test_nul_and_nothing_are_three_passwords() -> None:
    """F7: for bcrypt alone they are one."""
    passwords = ["", "\0", "\0" * 72]
    for password in passwords:
        stored = hasher().hash(password)
        assert [hasher().verify(stored, guess) for guess in passwords] == [
            guess == password for guess in passwords
        ]


def test_without_the_pepper_the_hash_is_worth_nothing() -> None:
    stored = hasher().hash("correct horse")
    assert not hasher(pepper=b"\x01" * 32).verify(stored, "correct horse")
    other_id = PasswordHasher(ring(("pepper-2", PEPPER)), cost=COST)
    assert not other_id.verify(stored, "correct horse")


def test_a_retired_pepper_still_opens_what_is_old() -> None:
    stored = hasher().hash("correct horse")
    rotated = PasswordHasher(ring(("pepper-2", b"\x02" * 32), ("pepper-1", PEPPER)), cost=COST)
    assert rotated.verify(stored, "correct horse")
    assert pepper_id_of(rotated.hash("correct horse")) == "pepper-2"


@given(password=st.text(), guess=st.text())
@settings(max_examples=25, deadline=None)
def test_any_text_is_a_password(password: str, guess: str) -> None:
    stored = hasher().hash(password)
    assert hasher().verify(stored, password)
    assert not hasher().verify(stored, password + "x")
    assert not hasher().verify(stored, guess + "\0" + password)


# --- Hashes of other systems ----------------------------------------------------


@pytest.mark.parametrize(("password", "made"), VECTORS)
@pytest.mark.parametrize("prefix", ["2a", "2b", "2y"])
def test_published_vectors(password: str, made: str, prefix: str) -> None:
    stored = take_over_bcrypt(made.replace("$2a$", f"${prefix}$"))
    assert stored == f"bcrypt$${made.replace('$2a$', f'${prefix}$')}"
    assert hasher().verify(stored, password)
    assert not hasher().verify(stored, "x" + password)
    assert (pepper_id_of(stored), is_malformed(stored)) == ("", False)


def test_the_broken_prefix_is_refused_with_its_reason() -> None:
    with pytest.raises(PasswordRefused, match=r"\$2x\$"):
        take_over_bcrypt(FORM.replace("$2b$", "$2x$"))


@pytest.mark.parametrize("cost", ["04", "05", "10", "12", "14"])
def test_costs_that_are_taken_over(cost: str) -> None:
    made = f"$2b${cost}$" + "." * 53
    assert take_over_bcrypt(made) == f"bcrypt$${made}"


MALFORMED = [
    "",
    "!",
    "*",
    "x" * 60,
    "$2b$03$" + "." * 53,
    "$2b$15$" + "." * 53,
    "$2b$31$" + "." * 53,
    "$2b$4$" + "." * 53,
    "$2b$004$" + "." * 53,
    "$2b$0x$" + "." * 53,
    # Digits, but not those of a bcrypt hash.
    "$2b$\u0660\u0664$" + "." * 53,
    "$2b$\uff10\uff14$" + "." * 53,
    "$2c$04$" + "." * 53,
    "$2$04$" + "." * 53,
    "$1$abcdefgh$0123456789012345678901",
    "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA",
    FORM[:-1],
    FORM + ".",
    FORM + "\n",
    " " + FORM,
    FORM.replace(".", "+"),
    # The 22nd character of a salt carries two bits only.
    "$2b$04$" + "." * 21 + "a" + "." * 31,
    "$2b$04$" + "." * 21 + "/" + "." * 31,
    "$2b$04$" + "\0" * 53,
    "$2b$04$" + "密" * 53,
]


@pytest.mark.parametrize("made", MALFORMED)
def test_what_is_no_bcrypt_hash_is_not_taken_over(made: str) -> None:
    with pytest.raises(PasswordRefused) as refusal:
        take_over_bcrypt(made)
    assert len(made) < 3 or made not in str(refusal.value)


@pytest.mark.parametrize(
    "password",
    [
        "密" * 24 + "码",  # cut between two characters
        "a" + "密" * 24,  # cut inside one
        "aa" + "\U0001f600" * 18,
        "\U0001f600" * 19,
        "a" * 73,
    ],
)
def test_the_cut_is_that_of_the_old_systems(password: str) -> None:
    """72 bytes, wherever that is in a character."""
    raw = password.encode()
    assert len(raw) > 72
    stored = foreign(raw[:72])
    assert hasher().verify(stored, password)
    assert hasher().verify(stored, password + "and more"), "they never saw the rest"
    assert not hasher().verify(stored, "b" + password[1:])


def test_the_seventy_second_byte_counts() -> None:
    stored = foreign(b"a" * 72)
    assert hasher().verify(stored, "a" * 72)
    assert not hasher().verify(stored, "a" * 71)
    assert not hasher().verify(stored, "a" * 71 + "b")


def test_a_foreign_password_is_raw_bytes() -> None:
    """The old system did not normalise, so neither does the check against its hash."""
    stored = foreign("cafe\u0301".encode())
    assert hasher().verify(stored, "cafe\u0301")
    assert not hasher().verify(stored, "café")


# --- When to hash anew ------------------------------------------------------------


def test_what_we_would_write_now_stays() -> None:
    assert not hasher().needs_rehash(hasher().hash("correct horse"))


@pytest.mark.parametrize(
    "stored",
    [
        foreign(b"correct horse"),
        hasher(cost=5).hash("correct horse"),
        PasswordHasher(ring(("pepper-0", PEPPER)), cost=COST).hash("correct horse"),
        "",
        "!",
        "bcrypt-hmac-sha256$pepper-1$",
        f"argon2id$pepper-1${FORM}",
    ],
    ids=["foreign", "other cost", "other pepper", "none", "locked", "cut", "other scheme"],
)
def test_everything_else_is_hashed_anew(stored: str) -> None:
    assert hasher().needs_rehash(stored)


# --- Refusals ---------------------------------------------------------------------


def test_no_stored_hash_never_matches() -> None:
    for password in ("", "x", "\0", "correct horse"):
        assert not hasher().verify(None, password)


STORED_BADLY = [
    *MALFORMED,
    *(f"bcrypt$${made}" for made in MALFORMED),
    *(f"bcrypt-hmac-sha256$pepper-1${made}" for made in MALFORMED),
    FORM,
    "$",
    "$$",
    "$$$",
    "bcrypt",
    "bcrypt$",
    f"argon2id$${FORM}",
    f"BCRYPT$${FORM}",
]


@pytest.mark.parametrize("stored", STORED_BADLY)
def test_a_malformed_hash_is_refused_and_never_raises(stored: str) -> None:
    """Row 22: whatever somebody wrote into the column."""
    assert is_malformed(stored)
    assert not hasher().verify(stored, "correct horse")
    assert hasher().needs_rehash(stored)


costs = st.sampled_from(["04", "05", "00", "03", "15", "31", "99", "\u0660\u0664", "4", "-1"])
salts = st.text("./Aaz09OeuZ+=\u0660", min_size=52, max_size=54)
near_misses = st.builds(
    "{}${}${}${}${}".format,
    st.sampled_from(["bcrypt", "bcrypt-hmac-sha256", "argon2id", ""]),
    st.sampled_from(["", "pepper-1", "pepper-2"]),
    st.sampled_from(["$2a", "$2b", "$2y", "$2x", "2b", "$2"]),
    costs,
    salts,
)


@given(stored=st.text() | near_misses, password=st.text())
@settings(max_examples=150, deadline=None)
def test_no_stored_text_raises_or_matches(stored: str, password: str) -> None:
    assert not hasher().verify(stored, password)
    assert isinstance(is_malformed(stored), bool)
    assert isinstance(pepper_id_of(stored), str)
    hasher().needs_rehash(stored)


# --- How much work a refusal is ------------------------------------------------------

OURS = 7


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rounds of every bcrypt from now on."""
    counted: list[int] = []
    checkpw = bcrypt.checkpw

    def spy(password: bytes, hashed: bytes) -> bool:
        counted.append(2 ** int(hashed[4:6]))
        return checkpw(password, hashed)

    def unexpected(*_: object) -> bytes:
        raise AssertionError("a check does not hash")

    monkeypatch.setattr(bcrypt, "checkpw", spy)
    monkeypatch.setattr(bcrypt, "hashpw", unexpected)
    return counted


REFUSED = {
    "no such account": (None, True),
    "no password": (None, False),
    "empty": ("", True),
    "locked by hand": ("!", True),
    "not a hash": ("bcrypt$$nonsense", True),
    "days of work": ("bcrypt$$$2b$31$" + "." * 53, True),
    "unknown scheme": (f"argon2id$${FORM}", True),
    "unknown pepper": (f"bcrypt-hmac-sha256$pepper-9${FORM}", True),
    "unknown pepper, disabled": (f"bcrypt-hmac-sha256$pepper-9${FORM}", False),
    **{f"ours {cost}, wrong": (hasher(cost=cost).hash("other"), True) for cost in (4, 5, 7)},
    **{f"ours {cost}, disabled": (hasher(cost=cost).hash("right"), False) for cost in (4, 6, 7)},
    **{f"foreign {cost}, wrong": (foreign(b"other", cost=cost), True) for cost in (4, 6, 7)},
    **{f"foreign {cost}, disabled": (foreign(b"right", cost=cost), False) for cost in (4, 5, 7)},
}


@pytest.mark.parametrize("case", REFUSED)
def test_every_refusal_is_the_same_work(case: str, rounds: list[int]) -> None:
    """Row 20: 2**cost rounds, whoever is refused for whatever reason."""
    stored, allowed = REFUSED[case]
    ours = hasher(cost=OURS)
    rounds.clear()
    assert not ours.verify(stored, "right", allowed=allowed)
    assert sum(rounds) == 2**OURS


@pytest.mark.parametrize("allowed", [True, False])
def test_only_a_foreign_hash_of_a_higher_cost_is_more_work(
    rounds: list[int], allowed: bool
) -> None:
    stored = "bcrypt$$" + "$2b$09$" + "." * 53
    assert not hasher(cost=OURS).verify(stored, "right", allowed=allowed)
    assert rounds == [2**9]


def test_success_is_one_check(rounds: list[int]) -> None:
    stored = take_over_bcrypt(VECTORS[0][1])
    assert hasher(cost=OURS).verify(stored, VECTORS[0][0])
    assert rounds == [2**5]


# --- Passwords that can be set ---------------------------------------------------------


@pytest.mark.parametrize(
    "password",
    [
        "12345678",
        "密" * 8,
        "        ",
        "\U0001f600" * 8,
        "a" * 256,
        "密" * 256,
        "\U0001f600" * 256,
        "e\u0301" * 8,
        "e\u0301" * 256,
    ],
)
def test_any_characters_will_do(password: str) -> None:
    """ASVS 6.2.5: no rule of composition."""
    check_new_password(password)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("", "8 characters"),
        ("1234567", "8 characters.*15 are recommended"),
        ("e\u0301" * 7, "8 characters"),
        ("a" * 257, "256 characters"),
        ("\U0001f600" * 257, "256 characters"),
        ("e\u0301\u0323\u0302" * 200, "1024 bytes"),
        ("12345678\0", "NUL"),
        ("\0" * 8, "NUL"),
        ("12345678\ud800", "UTF-8"),
        ("\udcff" * 8, "UTF-8"),
    ],
)
def test_passwords_that_cannot_be_set(password: str, why: str) -> None:
    """With the reason, without the password: a half surrogate too, which no client can send."""
    with pytest.raises(PasswordRefused, match=why) as refusal:
        check_new_password(password)
    assert len(password) < 7 or password not in repr(refusal.value)
