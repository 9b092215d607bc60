"""Keys that tokens are verified with, and the rules for verifying them.

RFC 8725 (best practices for JWT): the algorithm comes from a fixed list and must fit the key, the
key is named by ``kid``, issuer and audience are compared, ``exp`` is required.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key

from vigie.platform.clock import MICROSECONDS_PER_SECOND
from vigie.platform.errors import VigieError
from vigie.platform.reasons import TOKEN_INVALID

ALGORITHMS: Final = ("Ed25519", "EdDSA", "ES256")
"""RFC 9864 names Ed25519; EdDSA is its older name, still sent by issuers."""
_CURVES: Final = {"Ed25519": "Ed25519", "EdDSA": "Ed25519", "ES256": "P-256"}
MAX_TOKEN_CHARACTERS: Final = 8192
SERVICE_USE: Final = "service"


@dataclass(frozen=True, slots=True)
class Issuer:
    """Somebody whose tokens are accepted.

    Attributes:
        name: value of ``iss``.
        keys: ``kid`` -> public key; they may change.
        internal: whether it is the product's own, which alone may issue service tokens.
    """

    name: str
    keys: Mapping[str, Key]
    internal: bool = False


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The key that a token was verified with, and what it was then.

    Attributes:
        issuer: whose it was.
        kid: the name it had.
        key: itself.
    """

    issuer: str
    kid: str
    key: Key


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a good token says; ``internal``: the product's own issuer signed it."""

    subject: str
    token_id: str
    signed_by: SigningKey
    expires_at_us: int
    service: bool
    internal: bool


class TokenVerifier:
    """Verifies tokens of known issuers.

    Args:
        issuers: whose tokens are accepted.
        audience: what ``aud`` must name.
        leeway_seconds: clocks of issuers may differ by this much (not for ``exp``: a token that
            has ended here has ended).
    """

    def __init__(self, issuers: Sequence[Issuer], *, audience: str, leeway_seconds: float) -> None:
        self._issuers = tuple(issuers)
        self._audience = audience
        self._leeway_seconds = leeway_seconds

    def verify(self, token: str, *, now_us: int) -> VerifiedToken:
        """Verify everything about a token but its end, which the caller compares.

        A token that has ended is still known to be authentic: its refusal is recorded under the
        name of its subject.

        Raises:
            VigieError: TOKEN_INVALID. The message never quotes the token.
        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise VigieError(TOKEN_INVALID, "the token is too long")
        used: list[tuple[Issuer, SigningKey]] = []

        def find(header: Any) -> Key:
            issuer, key = self._key(header.headers())
            used.append((issuer, SigningKey(issuer.name, str(header.headers()["kid"]), key)))
            return key

        try:
            decoded = jwt.decode(token, find, algorithms=list(ALGORITHMS))
        except (JoseError, ValueError) as error:
            raise VigieError(TOKEN_INVALID, "the token's signature or form is wrong") from error
        return self._check(decoded.claims, *used[0], now_us)

    def trusts(self, signed_by: object) -> bool:
        """Whether tokens that were signed with a key are still accepted.

        The same key, by its thumbprint (RFC 7638), has to bear the same name of the same issuer: a
        name may have gone over to another key.
        """
        if not isinstance(signed_by, SigningKey):
            return False
        thumbprint = signed_by.key.thumbprint()
        now = (
            issuer.keys.get(signed_by.kid)
            for issuer in self._issuers
            if issuer.name == signed_by.issuer
        )
        return any(key is not None and key.thumbprint() == thumbprint for key in now)

    def _key(self, header: Mapping[str, Any]) -> tuple[Issuer, Key]:
        kid, algorithm = header.get("kid"), header.get("alg")
        for issuer in self._issuers:
            key = issuer.keys.get(kid) if isinstance(kid, str) else None
            if key is not None and key.as_dict(private=False).get("crv") == _CURVES.get(
                str(algorithm)
            ):
                return issuer, key
        raise VigieError(TOKEN_INVALID, "the token names no key of an issuer that is trusted")

    def _check(
        self, claims: Mapping[str, Any], issuer: Issuer, signed_by: SigningKey, now_us: int
    ) -> VerifiedToken:
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        subject = claims.get("sub")
        service = claims.get("use") == SERVICE_USE
        if claims.get("iss") != issuer.name:
            raise VigieError(TOKEN_INVALID, "the token names another issuer than its key's")
        if self._audience not in audiences:
            raise VigieError(TOKEN_INVALID, "the token is for another audience")
        if not isinstance(subject, str) or not subject:
            raise VigieError(TOKEN_INVALID, "the token names no subject")
        if service and not issuer.internal:
            raise VigieError(TOKEN_INVALID, "only the product itself issues service tokens")
        expires_at_us = _instant_us(claims, "exp")
        if expires_at_us is None:
            raise VigieError(TOKEN_INVALID, "the token has no end")
        leeway_us = round(self._leeway_seconds * MICROSECONDS_PER_SECOND)
        for name in ("nbf", "iat"):
            instant_us = _instant_us(claims, name)
            if instant_us is not None and instant_us > now_us + leeway_us:
                raise VigieError(TOKEN_INVALID, f"the token's {name} lies in the future")
        token_id = claims.get("jti")
        return VerifiedToken(
            subject=subject,
            token_id=token_id if isinstance(token_id, str) else "",
            signed_by=signed_by,
            expires_at_us=expires_at_us,
            service=service,
            internal=issuer.internal,
        )


def _instant_us(claims: Mapping[str, Any], name: str) -> int | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1 << 40:
        raise VigieError(TOKEN_INVALID, f"the token's {name} is no instant")
    return round(value * MICROSECONDS_PER_SECOND)
