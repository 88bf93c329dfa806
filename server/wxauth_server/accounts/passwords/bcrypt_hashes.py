"""bcrypt hashes: their exact form, and how other systems hash passwords with it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

import bcrypt

from wxauth_server.accounts.passwords.password_refusals import PasswordRefused

#: Costs that are worked off: 14 is a second of CPU here, 31 would be days.
MIN_FOREIGN_COST = 4
MAX_FOREIGN_COST = 14

# The 22nd character of the salt carries 2 bits only, hence the short class.
_FORM = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
_MAX_BYTES = 72


def bcrypt_cost(text: str) -> int | None:
    """The cost of a bcrypt hash; None if it is none, or of a cost outside the bounds."""
    form = _FORM.fullmatch(text)
    if form is None or not MIN_FOREIGN_COST <= (cost := int(form[1])) <= MAX_FOREIGN_COST:
        return None
    return cost


@dataclass(frozen=True)
class BcryptHash:
    """bcrypt of the password's UTF-8, cut at 72 bytes as the other systems did.

    With `of_sha256` it is of the hexadecimal SHA-256 of the password, which is
    what Django calls `bcrypt_sha256`.
    """

    bcrypt_cost: int
    text: str = field(repr=False)
    of_sha256: bool = False

    def matches(self, password: str) -> bool:
        """Whether this is the hash of `password`. Blocking: 2**cost rounds."""
        raw = password.encode()
        hashed = hashlib.sha256(raw).hexdigest().encode() if self.of_sha256 else raw[:_MAX_BYTES]
        return bcrypt.checkpw(hashed, self.text.encode())


def parse_bcrypt(text: str) -> BcryptHash:
    """Raises: PasswordRefused for what is no such hash, of cost 4 to 14."""
    if text.startswith("$2x$"):
        # It hashes some passwords alike.
        raise PasswordRefused("$2x$ hashes are of a broken bcrypt and cannot be trusted")
    cost = bcrypt_cost(text)
    if cost is None:
        raise PasswordRefused(
            f"this is no bcrypt hash of cost {MIN_FOREIGN_COST} to {MAX_FOREIGN_COST}"
        )
    return BcryptHash(cost, text)


def parse_bcrypt_of_sha256(text: str) -> BcryptHash:
    """Raises: PasswordRefused, as `parse_bcrypt`."""
    return BcryptHash(parse_bcrypt(text).bcrypt_cost, text, of_sha256=True)
