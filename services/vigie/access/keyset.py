"""Public keys of an identity provider: a JWKS file (RFC 7517), followed when it changes.

Providers change their keys, some every few weeks: the file then has the old and the new key for a
while. A broken edit keeps the last good keys, loudly.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, KeySet, OKPKey

from vigie.access.following import FollowedFile
from vigie.access.metrics import JWKS_GOOD, JWKS_RELOADS
from vigie.platform.errors import VigieError
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.reasons import CONFIG_INVALID


def parse_jwks(content: bytes) -> dict[str, Key]:
    """Public keys of a JSON Web Key Set, by ``kid``.

    Raises:
        ValueError: it is none, or has a key without ``kid``, or one of another kind.
    """
    try:
        key_set = KeySet.import_key_set(json.loads(content.decode("utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError, JoseError) as error:
        raise ValueError(
            f"is no JWKS file: {error}; export the issuer's public keys as JSON Web Key Set"
        ) from error
    keys: dict[str, Key] = {}
    for key in key_set.keys:
        kid = key.kid
        if not kid or kid in keys or not isinstance(key, OKPKey | ECKey):
            raise ValueError("every key needs a kid of its own and must be Ed25519 or P-256")
        keys[kid] = key
    return keys


class KeySetFile(Mapping[str, Key]):
    """The keys in force, by ``kid``.

    Args:
        file: must be good when the process starts.
        metrics: see `vigie.access.metrics`.

    Raises:
        VigieError: CONFIG_INVALID: the file, or what is in it.
    """

    def __init__(self, file: Path, *, metrics: MetricsRegistry) -> None:
        self._file = FollowedFile(file)
        self._reloads = metrics.counter(JWKS_RELOADS)
        self._good = metrics.gauge(JWKS_GOOD)
        self._log = structlog.get_logger("vigie.access")
        self._revision = 0
        try:
            self._keys = parse_jwks(self._file.read())
        except OSError as error:
            problem = f"{file} cannot be read: {error.strerror}"
            raise VigieError(CONFIG_INVALID, problem, field="access.jwks_file") from error
        except ValueError as error:
            raise VigieError(
                CONFIG_INVALID, f"{file}: {error}", field="access.jwks_file"
            ) from error
        self._good.set(1)

    @property
    def revision(self) -> int:
        """Changes with the keys."""
        return self._revision

    async def refresh(self) -> None:
        """Follow the file; called about once a second."""
        change = await self._file.changed()
        if change is None:
            return
        if change.problem:
            self._refuse(change.problem)
            return
        try:
            keys = parse_jwks(change.content)
        except ValueError as error:
            self._refuse(str(error))
            return
        self._keys = keys
        self._revision += 1
        self._reloads.labels("accepted").inc()
        self._good.set(1)
        self._log.info("jwks_file_accepted", file=str(self._file.path), keys=sorted(keys))

    def _refuse(self, problem: str) -> None:
        self._reloads.labels("refused").inc()
        self._good.set(0)
        path = str(self._file.path)
        self._log.error("jwks_file_refused", file=path, problem=problem, kept="last good")

    def __getitem__(self, kid: str) -> Key:
        return self._keys[kid]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)
