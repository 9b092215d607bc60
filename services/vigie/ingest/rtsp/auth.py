"""Answers to challenges: digest (RFC 7616, and RFC 2069 for cameras without qop), basic (RFC 7617).

Digest is preferred whenever it is offered, SHA-256 before MD5. Basic shows the password to whoever
listens, so it is used only when the camera offers nothing else; over plain RTSP that is the
operator's choice of camera, which the documentation names as such.
"""

import hashlib
import re
import secrets
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_ALGORITHMS: Final = {"SHA-256-SESS": 0, "SHA-256": 1, "MD5-SESS": 2, "MD5": 3}
_BASIC_RANK: Final = 9
_TOKEN: Final = re.compile(
    # No separators in front: a pattern that began with them would try each blank again and again.
    r"(?P<name>[^\s,=\"]+)(?:\s*=\s*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"?|(?P<plain>[^\s,]*)))?"
)
_MAX_CHALLENGES: Final = 16


@dataclass(frozen=True, slots=True)
class Challenge:
    """One scheme offered by the other side.

    Attributes:
        scheme: lower case, ``digest`` or ``basic`` (others are kept but not answered).
        parameters: names in lower case.
    """

    scheme: str
    parameters: dict[str, str]

    @property
    def nonce(self) -> str:
        """The nonce; empty when there is none."""
        return self.parameters.get("nonce", "")

    @property
    def is_stale(self) -> bool:
        """Whether only the nonce was too old, not the password wrong."""
        return self.parameters.get("stale", "").lower() == "true"

    @property
    def rank(self) -> int | None:
        """Preference, smallest first; None when this cannot be answered."""
        if self.scheme == "basic":
            return _BASIC_RANK
        if self.scheme != "digest" or not self.nonce or "realm" not in self.parameters:
            return None
        if self.parameters.get("qop", "auth") and "auth" not in self.qualities:
            return None
        return _ALGORITHMS.get(self.algorithm.upper())

    @property
    def algorithm(self) -> str:
        """As the other side wrote it, MD5 when unsaid."""
        return self.parameters.get("algorithm", "MD5")

    @property
    def qualities(self) -> set[str]:
        """The offered qualities of protection, in lower case."""
        return {q.strip().lower() for q in self.parameters.get("qop", "auth").split(",")}


def parse_challenges(values: list[str]) -> list[Challenge]:
    """Every challenge in the WWW-Authenticate fields, several in one field or one in each."""
    challenges: list[Challenge] = []
    for value in values:
        parameters: dict[str, str] | None = None
        for token in _TOKEN.finditer(value):
            name = token["name"].lower()
            text = token["quoted"] if token["quoted"] is not None else token["plain"]
            if text is None:
                parameters = {}
                challenges.append(Challenge(name, parameters))
            elif parameters is not None:
                parameters.setdefault(name, re.sub(r"\\(.)", r"\1", text))
    return challenges[:_MAX_CHALLENGES]


class Authenticator:
    """Holds the credentials of one connection and answers its challenges.

    Args:
        username: empty when there are no credentials.
        password: never shown.
        make_nonce: client nonces; given by tests.
    """

    def __init__(
        self, username: str, password: str, make_nonce: Callable[[], str] | None = None
    ) -> None:
        self._username = username
        self._password = password
        self._make_nonce = make_nonce or (lambda: secrets.token_hex(8))
        self._challenge: Challenge | None = None
        self._count = 0
        self._proven = False
        self._session: tuple[str, str] = ("", "")

    def __repr__(self) -> str:
        return "Authenticator(…)"

    @property
    def has_credentials(self) -> bool:
        """Whether a challenge can be answered at all."""
        return bool(self._username)

    def accepted(self) -> None:
        """A request that carried our answer was accepted: the password is right."""
        self._proven = self._challenge is not None

    def challenged(self, values: list[str]) -> bool:
        """Take the challenges of a 401 answer in; whether asking again makes sense.

        The password is offered once. It is offered again only when the other side says that the
        nonce was stale, or when it was accepted before (a camera that renews its nonce without
        saying so): guessing on would lock the account of many cameras.
        """
        offered = [c for c in parse_challenges(values) if c.rank is not None]
        if not offered or not self.has_credentials:
            return False
        best = min(offered, key=lambda challenge: challenge.rank or 0)
        previous = self._challenge
        if previous is not None:
            renewed = best.scheme == "digest" and best.nonce != previous.nonce
            if not best.is_stale and not (renewed and self._proven):
                return False
        self._challenge = best
        self._proven = False
        self._count = 0
        self._session = ("", "")
        return True

    def authorization(self, method: str, uri: str) -> str | None:
        """The Authorization field for a request; None while nobody has asked for one."""
        challenge = self._challenge
        if challenge is None:
            return None
        if challenge.scheme == "basic":
            pair = f"{self._username}:{self._password}".encode()
            return "Basic " + b64encode(pair).decode()
        return self._digest(challenge, method, uri)

    def _digest(self, challenge: Challenge, method: str, uri: str) -> str:
        algorithm = challenge.algorithm.upper()
        digest = hashlib.sha256 if algorithm.startswith("SHA-256") else hashlib.md5

        def hashed(text: str) -> str:
            return digest(text.encode()).hexdigest()

        nonce, realm = challenge.nonce, challenge.parameters["realm"]
        self._count += 1
        count, client_nonce = f"{self._count:08x}", self._make_nonce()
        secret = hashed(f"{self._username}:{realm}:{self._password}")
        if algorithm.endswith("-SESS"):
            if self._session[0] != nonce:
                self._session = (nonce, client_nonce)
            client_nonce = self._session[1]  # the key of the session was made with this one
            secret = hashed(f"{secret}:{nonce}:{client_nonce}")
        request = hashed(f"{method}:{uri}")
        has_quality = bool(challenge.parameters.get("qop"))
        middle = f"{count}:{client_nonce}:auth:" if has_quality else ""
        answer = hashed(f"{secret}:{nonce}:{middle}{request}")
        fields = [
            f"username={_quote(self._username)}",
            f"realm={_quote(realm)}",
            f"nonce={_quote(nonce)}",
            f"uri={_quote(uri)}",
            f'response="{answer}"',
        ]
        if "algorithm" in challenge.parameters:
            fields.append(f"algorithm={challenge.algorithm}")
        if has_quality:
            fields += ["qop=auth", f"nc={count}"]
        if has_quality or algorithm.endswith("-SESS"):
            fields.append(f'cnonce="{client_nonce}"')
        if "opaque" in challenge.parameters:
            fields.append(f"opaque={_quote(challenge.parameters['opaque'])}")
        return "Digest " + ", ".join(fields)


def _quote(text: str) -> str:
    # A control character from a hostile challenge must not become a header field of ours.
    clean = "".join(c for c in text if c.isprintable())
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'
