"""Which keys are valid, in every store alike.

1 to 1024 bytes of UTF-8 (the limit of S3), parts joined by ``/``, each of 1 to 240 bytes, none
empty, ``.`` or ``..``, no control character, no backslash; not under ``.vigie``, which the
directory store keeps for itself.
"""

import re
from typing import Final

from vigie.platform.errors import VigieError
from vigie.platform.reasons import KEY_INVALID

RESERVED_PART: Final = ".vigie"
MAX_KEY_BYTES: Final = 1024
# A file name has at most 255 bytes; the record of an object adds a suffix to it.
MAX_PART_BYTES: Final = 240
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def key_parts(key: str) -> list[str]:
    """The parts of a valid key.

    Raises:
        VigieError: KEY_INVALID, saying what is wrong.
    """
    if (wrong := _what_is_wrong(key)) is not None:
        raise VigieError(KEY_INVALID, f"{key[:200]!r}: {wrong}", field="key")
    return key.split("/")


def _what_is_wrong(key: str) -> str | None:
    try:
        size_bytes = len(key.encode())
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    parts = key.split("/")
    faults = (
        (not 1 <= size_bytes <= MAX_KEY_BYTES, f"it has {size_bytes} bytes; 1 to {MAX_KEY_BYTES}"),
        (_CONTROL.search(key) is not None, "it contains a control character"),
        ("\\" in key, "it contains a backslash"),
        (any(part in {"", ".", ".."} for part in parts), "it has an empty, '.' or '..' part"),
        (
            any(len(part.encode()) > MAX_PART_BYTES for part in parts),
            f"a part has more than {MAX_PART_BYTES} bytes",
        ),
        (parts[0] == RESERVED_PART, f"the part {RESERVED_PART} is reserved"),
    )
    return next((what for wrong, what in faults if wrong), None)
