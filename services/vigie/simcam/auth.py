"""RTSP authentication, the camera's side: basic (RFC 7617) and digest (RFC 2069, 2617, 7616)."""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from vigie.simcam.clock import Clock

Scheme = Literal["basic", "digest-md5", "digest-sha256"]

_REALM: Final = "Simulated camera"
_PAIR: Final = re.compile(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,]+))')
_NONCES_KEPT: Final = 1000


class Credentials(BaseModel):
    """What a simulated camera asks for.

    Attributes:
        username, password: throw-away values; they protect nothing.
        schemes: challenges offered, in this order.
        quality_of_protection: offer qop="auth"; False is the form of RFC 2069 many cameras use.
        nonce_seconds: a nonce older than this is answered with a new one and stale=true.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    username: str
    password: str = Field(repr=False)
    schemes: tuple[Scheme, ...] = ("digest-md5",)
    quality_of_protection: bool = True
    nonce_seconds: float = 300.0


class Authenticator:
    """Issues challenges and checks answers for one camera."""

    def __init__(self, credentials: Credentials, clock: Clock) -> None:
        self._credentials = credentials
        self._clock = clock
        self._nonces: dict[str, int] = {}
        self._counts: dict[str, int] = {}

    def check(self, method: str, authorization: str | None) -> tuple[bool, list[str]]:
        """Judge a request.

        Returns:
            (True, []) when it may pass; else (False, values for WWW-Authenticate headers).
        """
        if authorization is None:
            return False, self.challenges()
        kind, _, rest = authorization.partition(" ")
        if kind.lower() == "basic" and "basic" in self._credentials.schemes:
            return (True, []) if self._basic(rest) else (False, self.challenges())
        if kind.lower() == "digest":
            fields = {m[1].lower(): m[2] if m[3] is None else m[3] for m in _PAIR.finditer(rest)}
            accepted, is_stale = self._digest(method, fields)
            return (True, []) if accepted else (False, self.challenges(stale=is_stale))
        return False, self.challenges()

    def challenges(self, *, stale: bool = False) -> list[str]:
        """Fresh values for WWW-Authenticate, one per scheme."""
        nonce = secrets.token_hex(16)
        self._nonces[nonce] = self._clock.now_us()
        while len(self._nonces) > _NONCES_KEPT:
            oldest = next(iter(self._nonces))
            self._counts.pop(oldest, None)
            del self._nonces[oldest]
        return [self._challenge(scheme, nonce, stale=stale) for scheme in self._credentials.schemes]

    def forget_nonces(self) -> None:
        """Every nonce given so far is stale from now on."""
        self._nonces.clear()
        self._counts.clear()

    def _challenge(self, scheme: Scheme, nonce: str, *, stale: bool) -> str:
        if scheme == "basic":
            return f'Basic realm="{_REALM}"'
        value = f'Digest realm="{_REALM}", nonce="{nonce}"'
        if self._credentials.quality_of_protection:
            value += ', qop="auth"'
        if scheme == "digest-sha256":
            value += ", algorithm=SHA-256"
        else:
            value += ", algorithm=MD5"
        return value + (", stale=true" if stale else "")

    def _basic(self, encoded: str) -> bool:
        try:
            given = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            return False
        expected = f"{self._credentials.username}:{self._credentials.password}"
        return hmac.compare_digest(given, expected.encode())

    def _digest(self, method: str, fields: dict[str, str]) -> tuple[bool, bool]:
        """(accepted, nonce is stale)."""
        algorithm = fields.get("algorithm", "MD5").upper()
        scheme = {"MD5": "digest-md5", "SHA-256": "digest-sha256"}.get(algorithm)
        if scheme not in self._credentials.schemes or fields.get("realm") != _REALM:
            return False, False
        if fields.get("username") != self._credentials.username:
            return False, False
        expected = self._response(method, fields, algorithm)
        if not hmac.compare_digest(fields.get("response", "").lower(), expected):
            return False, False
        return self._nonce_is_good(fields)

    def _response(self, method: str, fields: dict[str, str], algorithm: str) -> str:
        def digest(text: str) -> str:
            if algorithm == "SHA-256":
                return hashlib.sha256(text.encode()).hexdigest()
            return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

        secret = digest(f"{self._credentials.username}:{_REALM}:{self._credentials.password}")
        request = digest(f"{method}:{fields.get('uri', '')}")
        nonce = fields.get("nonce", "")
        if "qop" not in fields:
            return digest(f"{secret}:{nonce}:{request}")
        counted = f"{nonce}:{fields.get('nc', '')}:{fields.get('cnonce', '')}:{fields['qop']}"
        return digest(f"{secret}:{counted}:{request}")

    def _nonce_is_good(self, fields: dict[str, str]) -> tuple[bool, bool]:
        nonce = fields.get("nonce", "")
        issued_us = self._nonces.get(nonce)
        if issued_us is None:
            return False, True
        if self._clock.now_us() - issued_us > self._credentials.nonce_seconds * 1_000_000:
            return False, True
        if "qop" in fields:
            try:
                count = int(fields.get("nc", ""), 16)
            except ValueError:
                return False, False
            if count <= self._counts.get(nonce, 0):
                return False, True  # a replay: RFC 7616, 3.4.5
            self._counts[nonce] = count
        return True, False
