"""Sealing of secrets at rest and in events: AES-256-GCM under the installation's sealing key.

The registry seals what it is given; ingest opens it just before it connects to a camera. Both get
a `Sealer` from the wiring, made from one key file. The key never leaves that file and the memory
of the two services; a sealed secret is bound to its camera by the associated data, so that it
cannot be moved to another one.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vigie.platform.config.secret import Secret
from vigie.platform.errors import VigieError
from vigie.platform.folders import sync_folder
from vigie.platform.reasons import SEALED_SECRET_UNREADABLE, SEALING_KEY_INVALID

KEY_SIZE_BYTES: Final = 32
NONCE_SIZE_BYTES: Final = 12  # NIST SP 800-38D, section 8.2: 96 bits for random nonces
_TAG_SIZE_BYTES: Final = 16
_HEADER: Final = "vigie-sealing-key"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed secret, as the message ``vigie.registry.v1.SealedSecret`` carries it.

    Attributes:
        key_id: identifier of the sealing key.
        ciphertext: 12 bytes of nonce, then ciphertext with its 16 bytes of tag.
    """

    key_id: str
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class StreamLogin:
    """User name and password for a camera."""

    username: str
    password: Secret


@dataclass(frozen=True, slots=True)
class SealingKey:
    """One key with its identifier (a digest: it tells keys apart and tells nothing of them)."""

    key_id: str
    material: bytes = field(repr=False)

    @classmethod
    def of(cls, material: bytes) -> "SealingKey":
        """Name a key of 32 bytes."""
        if len(material) != KEY_SIZE_BYTES:
            raise ValueError(f"a sealing key has {KEY_SIZE_BYTES} bytes")
        digest = hashlib.sha256(b"vigie sealing key id\0" + material).hexdigest()
        return cls(digest[:16], material)


class Sealer:
    """Seals with the first of its keys and opens with any of them.

    Args:
        keys: the current key first, then older ones (after a change of keys).
        random_bytes: ``f(n)`` gives ``n`` unpredictable bytes.
    """

    def __init__(
        self,
        keys: Sequence[SealingKey],
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        if not keys:
            raise ValueError("a sealer needs a key")
        self._current = keys[0]
        self._keys = {key.key_id: key for key in keys}
        self._random_bytes = random_bytes

    @property
    def key_id(self) -> str:
        """Identifier of the key that seals now."""
        return self._current.key_id

    def seal(self, plaintext: bytes, *, bound_to: str) -> Sealed:
        """Seal ``plaintext``; it opens only with the same ``bound_to``."""
        nonce = self._random_bytes(NONCE_SIZE_BYTES)
        box = AESGCM(self._current.material).encrypt(nonce, plaintext, bound_to.encode())
        return Sealed(self._current.key_id, nonce + box)

    def open(self, sealed: Sealed, *, bound_to: str) -> bytes:
        """The plaintext again.

        Raises:
            VigieError: SEALED_SECRET_UNREADABLE: unknown key, altered, or bound to another name.
        """
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise _unreadable(bound_to, "it was sealed with a key this installation does not have")
        if len(sealed.ciphertext) < NONCE_SIZE_BYTES + _TAG_SIZE_BYTES:
            raise _unreadable(bound_to, "it is too short")
        nonce = sealed.ciphertext[:NONCE_SIZE_BYTES]
        box = sealed.ciphertext[NONCE_SIZE_BYTES:]
        try:
            return AESGCM(key.material).decrypt(nonce, box, bound_to.encode())
        except InvalidTag:
            raise _unreadable(bound_to, "it was altered or belongs to another camera") from None

    def seal_login(self, login: StreamLogin, *, camera: str) -> Sealed:
        """Seal the credentials of ``camera`` (its identifier, no resource name)."""
        content = {"username": login.username, "password": login.password.reveal()}
        return self.seal(json.dumps(content, ensure_ascii=False).encode(), bound_to=camera)

    def open_login(self, sealed: Sealed, *, camera: str) -> StreamLogin:
        """The credentials of ``camera``.

        Raises:
            VigieError: SEALED_SECRET_UNREADABLE.
        """
        try:
            content = json.loads(self.open(sealed, bound_to=camera))
            return StreamLogin(str(content["username"]), Secret(str(content["password"])))
        except (ValueError, KeyError, TypeError):
            # The cause is cut off: its text could hold a part of the secret.
            raise _unreadable(camera, "it does not hold a user name and a password") from None

    def derived_key(self, purpose: str) -> bytes:
        """A key of 32 bytes for another purpose; it tells nothing of the sealing key."""
        return _derived(self._current, purpose)

    def fingerprint(self, content: bytes) -> str:
        """A keyed digest, 64 hexadecimal digits.

        Tells equal requests from different ones without leaving in the database a digest from
        which a password in them could be guessed.
        """
        return _fingerprint(self._current, content)

    def fingerprints(self, content: bytes) -> list[str]:
        """Its fingerprint under each key: one that is kept may be of an older key."""
        return [_fingerprint(key, content) for key in self._keys.values()]


def load_or_create_sealer(
    path: Path, random_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> Sealer:
    """The sealer of a key file, which is made at the first start (mode 0600).

    The file has one key a line, the current one first: ``vigie-sealing-key ID BASE64``.

    Raises:
        VigieError: SEALING_KEY_INVALID: others may read the file, or a line is not a key.
    """
    if not path.exists():
        _create(path, SealingKey.of(random_bytes(KEY_SIZE_BYTES)))
    return Sealer(_read(path), random_bytes)


def _derived(key: SealingKey, purpose: str) -> bytes:
    return hmac.digest(key.material, f"vigie {purpose}".encode(), "sha256")


def _fingerprint(key: SealingKey, content: bytes) -> str:
    return hmac.digest(_derived(key, "fingerprint"), content, "sha256").hex()


def _create(path: Path, key: SealingKey) -> None:
    """Write a key file that is there whole or not at all; the first of two writers wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    line = f"{_HEADER} {key.key_id} {base64.b64encode(key.material).decode()}\n"
    # Not O_EXCL: a process that was killed here may have left it, and in a container the next one
    # has the same number.
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        descriptor = os.open(temporary, flags, 0o600)
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return  # another process was first: its key counts
        finally:
            temporary.unlink()
        sync_folder(path.parent)
    except OSError as error:
        raise VigieError(
            SEALING_KEY_INVALID, f"cannot write the sealing key {path}: {error.strerror}"
        ) from error


def _read(path: Path) -> list[SealingKey]:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        raise VigieError(SEALING_KEY_INVALID, f"cannot read the sealing key {path}") from None
    if mode & _OTHERS:
        raise VigieError(
            SEALING_KEY_INVALID,
            f"others than its owner may use the sealing key {path}: run `chmod 600 {path}`",
        )
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise VigieError(SEALING_KEY_INVALID, f"there is no key in {path}")
    return [_parse(path, number, line) for number, line in enumerate(lines, 1)]


def _parse(path: Path, number: int, line: str) -> SealingKey:
    """One line of the file; what is wrong is named without showing the line."""
    try:
        header, key_id, encoded = line.split()
        key = SealingKey.of(base64.b64decode(encoded, validate=True))
    except (ValueError, binascii.Error):
        raise VigieError(
            SEALING_KEY_INVALID, f"key {number} of {path} is not `{_HEADER} ID BASE64`"
        ) from None
    if header != _HEADER or key.key_id != key_id:
        raise VigieError(
            SEALING_KEY_INVALID, f"key {number} of {path} is damaged: it does not match its name"
        )
    return key


def _unreadable(bound_to: str, why: str) -> VigieError:
    return VigieError(
        SEALED_SECRET_UNREADABLE, f"the sealed secret of {bound_to} cannot be opened: {why}"
    )
