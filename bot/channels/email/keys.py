"""The private key that DKIM signs with: read, refused where it is unfit, and its public half for DNS.

RSA of 2048 bits or more (RFC 8301) and Ed25519 (RFC 8463). dkimpy reads and uses RSA keys in pure Python; where the package
`cryptography` is installed, OpenSSL does the arithmetic, about fifteen times faster, and Ed25519 becomes possible. What is
signed is `signing.py`'s business.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from dkim.asn1 import ASN1FormatError  # type: ignore[import-untyped]
from dkim.crypto import (  # type: ignore[import-untyped]
    RSASSA_PKCS1_v1_5_sign,
    RSASSA_PKCS1_v1_5_verify,
    UnparsableKeyError,
    parse_private_key,
)

from bot.errors import ConfigurationError

__all__ = ["PrivateKey", "read_private_key"]

VARIABLE = "AFTERCARE_DKIM_KEY"
# RFC 8301 section 3.2: signers use 2048 bits at least.
LEAST_RSA_BITS = 2048
MAKE_ONE = "make one with `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out dkim.pem`"

_PEM = re.compile(
    r"-----BEGIN (?P<kind>[A-Z0-9 ]{1,40})-----(?P<body>[A-Za-z0-9+/=\s]{1,20000})-----END (?P=kind)-----"
)
# PKCS#8 around a 32 octet Ed25519 seed (RFC 8410 section 7).
_ED25519_PREFIX = bytes.fromhex("302e020100300506032b657004220420")
_RSA_OID = bytes.fromhex("06092a864886f70d0101010500")  # rsaEncryption and its NULL (RFC 8017 appendix A.1)


class PrivateKey(Protocol):
    """Signs the digest of a mail's headers.

    Attributes
    ----------
    algorithm : str
        The `a=` of the signature.
    kind : str
        The `k=` of the record in DNS.
    public : bytes
        What `p=` of the record in DNS holds, before base64.
    """

    @property
    def algorithm(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def public(self) -> bytes: ...

    def sign(self, digest: bytes) -> bytes:
        """Sign a SHA-256 digest."""


@dataclass(frozen=True)
class _Digest:
    """A hash that dkimpy takes for a finished one."""

    value: bytes
    name: str = "sha256"

    def digest(self) -> bytes:
        return self.value


@dataclass(frozen=True, kw_only=True, repr=False)
class _Rsa:
    numbers: dict[str, Any]
    fast: Callable[[bytes], bytes] | None
    algorithm: str = "rsa-sha256"
    kind: str = "rsa"

    @property
    def public(self) -> bytes:
        """A SubjectPublicKeyInfo (RFC 5280), as everybody publishes it."""
        pair = _der(0x30, _integer(self.numbers["modulus"]) + _integer(self.numbers["publicExponent"]))
        return _der(0x30, _der(0x30, _RSA_OID) + _der(0x03, b"\0" + pair))

    def sign(self, digest: bytes) -> bytes:
        if self.fast is not None:
            return self.fast(digest)
        return bytes(RSASSA_PKCS1_v1_5_sign(_Digest(digest), self.numbers))


@dataclass(frozen=True, kw_only=True, repr=False)
class _Ed25519:
    key: Any
    algorithm: str = "ed25519-sha256"
    kind: str = "ed25519"

    @property
    def public(self) -> bytes:
        return bytes(self.key.public_key().public_bytes_raw())

    def sign(self, digest: bytes) -> bytes:
        return bytes(self.key.sign(digest))


class _OpenSsl:
    """OpenSSL by way of the package `cryptography`, which is optional."""

    def __init__(self) -> None:
        name = "cryptography.hazmat.primitives"
        hashes, asymmetric = import_module(f"{name}.hashes"), f"{name}.asymmetric"
        self._load_der = import_module(f"{name}.serialization").load_der_private_key
        self._unknown_kind = import_module("cryptography.exceptions").UnsupportedAlgorithm
        self._ed25519 = import_module(f"{asymmetric}.ed25519").Ed25519PrivateKey
        self._padding = import_module(f"{asymmetric}.padding").PKCS1v15()
        self._sha256 = import_module(f"{asymmetric}.utils").Prehashed(hashes.SHA256())

    def rsa(self, der: bytes) -> Callable[[bytes], bytes]:
        try:
            key = self._load_der(der, None)
        except self._unknown_kind as error:
            raise ValueError("OpenSSL does not know this kind of key") from error
        return lambda digest: bytes(key.sign(digest, self._padding, self._sha256))

    def ed25519(self, seed: bytes) -> Any:
        return self._ed25519.from_private_bytes(seed)


def _openssl() -> _OpenSsl | None:
    try:
        return _OpenSsl()
    except ImportError:
        return None


def read_private_key(text: str) -> PrivateKey:
    """Read a private key and prove that it signs.

    Parameters
    ----------
    text : str
        PEM (PKCS#8 or PKCS#1), also on one line with `\\n` for line ends, as some environments keep it; or the 32 octets of
        an Ed25519 seed in base64, as dkimpy's `dknewkey` writes them.

    Raises
    ------
    ConfigurationError
        Naming AFTERCARE_DKIM_KEY and what to do; never with a piece of the key.
    """
    der = _der_of(text)
    if der.startswith(_ED25519_PREFIX) and len(der) == len(_ED25519_PREFIX) + 32:
        return _ed25519_key(der[len(_ED25519_PREFIX) :])
    if len(der) == 32:
        return _ed25519_key(der)
    return _rsa_key(der)


def _der_of(text: str) -> bytes:
    flat = text.replace("\\n", "\n").strip()
    if "ENCRYPTED" in flat:
        raise _unfit("is encrypted; decrypt it with `openssl pkey -in dkim.pem` and keep the file readable by us alone")
    if "BEGIN PUBLIC KEY" in flat or "BEGIN CERTIFICATE" in flat:
        raise _unfit("holds a public key or certificate; give the private key")
    found = _PEM.search(flat)
    if found is None and len(flat) != 44:
        raise _unfit("is no private key in PEM (-----BEGIN PRIVATE KEY-----); give the whole file's content")
    try:
        return base64.b64decode("".join((found["body"] if found else flat).split()), validate=True)
    except ValueError as error:
        raise _unfit("is damaged; give the whole file's content") from error


def _rsa_key(der: bytes) -> PrivateKey:
    try:
        numbers = parse_private_key(der)
        bits = int(numbers["modulus"]).bit_length()
        if bits < LEAST_RSA_BITS:
            raise _unfit(f"is an RSA key of {bits} bits; receivers ask for {LEAST_RSA_BITS}: {MAKE_ONE}")
        openssl = _openssl()
        key = _Rsa(numbers=numbers, fast=openssl.rsa(der) if openssl is not None else None)
        trial = hashlib.sha256(b"trial").digest()
        sound = RSASSA_PKCS1_v1_5_verify(_Digest(trial), key.sign(trial), numbers)
    except (UnparsableKeyError, ASN1FormatError, AssertionError, ValueError, TypeError, ArithmeticError) as error:
        raise _unfit(f"is no RSA or Ed25519 key; {MAKE_ONE}") from error
    if not sound:
        raise _unfit("is a damaged RSA key: what it signs does not verify; give the whole file's content")
    return key


def _ed25519_key(seed: bytes) -> PrivateKey:
    openssl = _openssl()
    if openssl is None:
        raise _unfit(f"is an Ed25519 key, which needs `pip install cryptography`; or use RSA: {MAKE_ONE}")
    return _Ed25519(key=openssl.ed25519(seed))


def _unfit(what: str) -> ConfigurationError:
    return ConfigurationError([(VARIABLE, what)])


def _integer(value: int) -> bytes:
    """Encode a positive integer, with a leading zero where its first bit would mean a sign."""
    return _der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _der(tag: int, content: bytes) -> bytes:
    """Encode a tag, a length and the content (X.690 section 8.1.3)."""
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content
