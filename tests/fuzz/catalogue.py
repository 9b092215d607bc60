"""Every target there is, by group; a group is imported when one of its targets is asked for."""

from importlib import import_module
from typing import Final

from fuzz.target import Target

GROUPS: Final = {
    "rtsp": ("rtsp-message", "rtsp-conversation", "sdp", "rtsp-challenge", "rtsp-address"),
    "media": (
        "rtp", "rtcp", "nal", "fmtp", "parameters-h264", "parameters-h265",
        "packets-h264", "packets-h265", "loss-h264", "loss-h265",
    ),
    "writing": ("write-path", "delivery", "reordering", "connection"),
    "files": ("segment", "spool-record", "spool-scan"),
    "evidence": ("archive", "signature", "manifest", "evidence-media"),
    "tables": ("configuration", "people", "table", "sealed"),
}  # fmt: skip
NAMES: Final = tuple(name for names in GROUPS.values() for name in names)


def load(name: str) -> Target:
    """The target of this name. Raises KeyError: there is none."""
    group = next((group for group, names in GROUPS.items() if name in names), None)
    if group is None:
        raise KeyError(name)
    targets: tuple[Target, ...] = import_module(f"fuzz.{group}").TARGETS
    return next(target for target in targets if target.name == name)
