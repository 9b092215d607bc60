"""The embedded development issuer: tokens for one machine, without an identity provider.

Its key lies in the data directory, made at the first start, readable by its owner only. Whoever
can read that file can be anybody: production installations use an identity provider instead.
"""

import json
import os
from pathlib import Path
from typing import Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key, OKPKey

from vigie.access.keys import SERVICE_USE, Issuer
from vigie.platform.clock import MICROSECONDS_PER_SECOND, WallClock
from vigie.platform.errors import VigieError
from vigie.platform.folders import sync_folder
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.reasons import CONFIG_INVALID

KEY_FILE: Final = "issuer-key.json"
_ALGORITHM: Final = "Ed25519"
_SERVICE_TOKEN_SECONDS: Final = 3600
_RENEW_BEFORE_US: Final = 300 * MICROSECONDS_PER_SECOND


def load_or_create_key(folder: Path, name: str = KEY_FILE) -> OKPKey:
    """The issuer's private key, the file ``name`` in ``folder``; made when there is none yet.

    Raises:
        VigieError: CONFIG_INVALID: others can read the file, or it is no key.
    """
    path = folder / name
    if not path.exists():
        _create_key(path)
    mode = path.stat().st_mode & 0o077
    if mode:
        raise VigieError(
            CONFIG_INVALID, f"{path} can be read by others; run `chmod 600 {path}`", field="access"
        )
    try:
        return OKPKey.import_key(json.loads(path.read_text(encoding="ascii")))
    except (ValueError, JoseError) as error:
        raise VigieError(
            CONFIG_INVALID,
            f"{path} is no key; remove it to have a new one made (tokens given out end then)",
            field="access",
        ) from error


def _create_key(path: Path) -> None:
    key = OKPKey.generate_key("Ed25519", private=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written whole under another name first: two processes that start together must not read half.
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    # Not O_EXCL: a process that was killed here may have left it, and in a container the next one
    # has the same number.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(key.as_dict(private=True), file)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)  # fails when another process was first: its key counts
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
    sync_folder(path.parent)


class DevelopmentIssuer:
    """Creates tokens that this installation accepts.

    Args:
        key: see `load_or_create_key`.
        name: ``iss``.
        audience: ``aud``.
    """

    def __init__(self, key: OKPKey, *, name: str, audience: str, wall_clock: WallClock) -> None:
        self._key = key
        self._kid = key.thumbprint()
        self._name = name
        self._audience = audience
        self._wall_clock = wall_clock
        self._identifiers = IdentifierSource(wall_clock)

    def issuer(self) -> Issuer:
        """Whom the verifier has to trust."""
        public: dict[str, Key] = {self._kid: OKPKey.import_key(self._key.as_dict(private=False))}
        return Issuer(self._name, public, internal=True)

    def create_token(self, subject: str, ttl_seconds: float) -> str:
        """A token for a person; whether he is designated is asked when it is used.

        Raises:
            ValueError: ``ttl_seconds`` is not positive.
        """
        return self._token(subject, ttl_seconds, {})

    def create_service_token(self, service: str, ttl_seconds: float) -> str:
        """A token for a service of the product, e.g. ``evidence``."""
        return self._token(f"service:{service}", ttl_seconds, {"use": SERVICE_USE})

    def _token(self, subject: str, ttl_seconds: float, more: dict[str, str]) -> str:
        if ttl_seconds <= 0:
            raise ValueError("a token must live for some time")
        now = self._wall_clock.now_us() // MICROSECONDS_PER_SECOND
        claims = {
            "iss": self._name,
            "aud": self._audience,
            "sub": subject,
            "iat": now,
            "nbf": now,
            "exp": now + max(1, round(ttl_seconds)),
            "jti": self._identifiers.text(),
            **more,
        }
        header = {"alg": _ALGORITHM, "kid": self._kid}
        return jwt.encode(header, claims, self._key, algorithms=[_ALGORITHM])


class ServiceTokenSource:
    """The credential of one service of this process; implements `TokenSource`."""

    def __init__(self, issuer: DevelopmentIssuer, service: str, wall_clock: WallClock) -> None:
        self._issuer = issuer
        self._service = service
        self._wall_clock = wall_clock
        self._token = ""
        self._made_us = 0
        self._ends_us = 0

    async def token(self) -> str:
        """See `TokenSource.token`."""
        now_us = self._wall_clock.now_us()
        # A token from the future is refused: after the clock was set back, it would be for as
        # long as the clock was set back by.
        if not self._made_us <= now_us < self._ends_us - _RENEW_BEFORE_US:
            self._token = self._issuer.create_service_token(self._service, _SERVICE_TOKEN_SECONDS)
            self._made_us = now_us
            self._ends_us = now_us + _SERVICE_TOKEN_SECONDS * MICROSECONDS_PER_SECOND
        return self._token
