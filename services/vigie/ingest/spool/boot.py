"""Which boot of the machine this is: after another one the power may have gone in between."""

from pathlib import Path
from typing import Final

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def boot_identifier(path: Path = BOOT_ID) -> str:
    """The kernel's identifier of this boot; empty where there is none (then never equal)."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
