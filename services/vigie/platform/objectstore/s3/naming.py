"""Names that the store keeps for itself in the bucket, below ``.vigie/``; no key begins so.

```
.vigie/installation            whose bucket this is
.vigie/holds/<d>/<hold>        a hold on the object whose key has the SHA-256 <d>
.vigie/probe/...               what is tried at the start
.vigie/order/a-b, .../a/b      in which order the store lists
.vigie/quarantine/...          objects that were not ours, set aside
```
"""

import hashlib
import re
from typing import Final

from vigie.platform.errors import VigieError
from vigie.platform.objectstore.keys import MAX_KEY_BYTES, RESERVED_PART, key_parts
from vigie.platform.reasons import KEY_INVALID

RESERVED: Final = f"{RESERVED_PART}/"
INSTALLATION: Final = f"{RESERVED}installation"
HOLDS: Final = f"{RESERVED}holds/"
PROBE_CONDITION: Final = f"{RESERVED}probe/condition"
PROBE_CHECKSUM: Final = f"{RESERVED}probe/checksum"
PROBE_ENCRYPTION: Final = f"{RESERVED}probe/encryption"
ORDER: Final = f"{RESERVED}order/"
ORDER_FIRST: Final = f"{ORDER}a-b"
ORDER_SECOND: Final = f"{ORDER}a/b"
QUARANTINE: Final = f"{RESERVED}quarantine/"
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_LONGEST_HOLD: Final = 100


def checked(key: str, prefix: str) -> str:
    """``key``, which is one that may be used below ``prefix``.

    Raises:
        VigieError: KEY_INVALID.
    """
    key_parts(key)
    if len(key.encode()) + len(prefix) > MAX_KEY_BYTES:
        raise VigieError(
            KEY_INVALID, f"{key[:200]!r}: too long below the prefix {prefix!r}", field="key"
        )
    return key


def is_valid(key: str) -> bool:
    """Whether an object of this name may have come through the port."""
    try:
        key_parts(key)
    except VigieError:
        return False
    return True


def holds_folder(key: str) -> str:
    """Below which the holds on ``key`` stand: a digest, because a key may be as long as a name."""
    return f"{HOLDS}{hashlib.sha256(key.encode()).hexdigest()}/"


def hold_marker(key: str, hold_id: str) -> str:
    """The marker of one hold; identifiers of any characters make names of harmless ones.

    Raises:
        ValueError: the identifier is empty or longer than a name allows.
    """
    if _PLAIN.fullmatch(hold_id):
        return f"{holds_folder(key)}p.{hold_id}"
    encoded = hold_id.encode()
    if not 1 <= len(encoded) <= _LONGEST_HOLD:
        raise ValueError(f"an identifier of a hold has 1 to {_LONGEST_HOLD} bytes: {hold_id!r}")
    return f"{holds_folder(key)}x.{encoded.hex()}"


def hold_of_marker(name: str) -> str | None:
    """The identifier in the name of a marker; ``None`` when it is none."""
    kind, _, rest = name.rpartition("/")[2].partition(".")
    if kind == "p":
        return rest
    try:
        return bytes.fromhex(rest).decode() if kind == "x" else None
    except ValueError:
        return None
