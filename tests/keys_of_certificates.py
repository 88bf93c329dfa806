"""Keys that certificates can have: those that gRPC connects with, and others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from tests.certificates import PrivateKey

GOOD_KEYS: Mapping[str, Callable[[], PrivateKey]] = {
    "RSA 2048": partial(rsa.generate_private_key, 65_537, 2048),
    "P-256": partial(ec.generate_private_key, ec.SECP256R1()),
    "P-384": partial(ec.generate_private_key, ec.SECP384R1()),
}
#: gRPC loads these, and then no connection comes about.
DEAD_KEYS: Mapping[str, Callable[[], PrivateKey]] = {
    "P-521": partial(ec.generate_private_key, ec.SECP521R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}
#: gRPC cannot load these; OpenSSL can.
UNKNOWN_KEYS: Mapping[str, Callable[[], PrivateKey]] = {
    "P-224": partial(ec.generate_private_key, ec.SECP224R1()),
    "secp256k1": partial(ec.generate_private_key, ec.SECP256K1()),
    "Ed448": ed448.Ed448PrivateKey.generate,
}
