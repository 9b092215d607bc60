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
_PARAMETERS: Final = tuple(f"vigie.media.{name}" for name in ("bits", "h264", "h265"))
_PACKETS: Final = tuple(f"vigie.media.{name}" for name in ("depacketize", "payload", "rtp"))
_BOXES: Final = tuple(
    f"vigie.media.bmff.{name}" for name in ("boxes", "header", "movie", "reader", "track_fragment")
)
SCENARIOS: Final = {
    **dict.fromkeys(("packets-h264", "packets-h265", "loss-h264", "loss-h265"), _PARAMETERS),
    **dict.fromkeys(("write-path", "delivery"), (*_PARAMETERS, *_PACKETS, *_BOXES)),
    "connection": (*_PARAMETERS, *_BOXES),
    "evidence-media": _PARAMETERS,
    "spool-scan": _PARAMETERS,
}
"""Targets whose input is a list of decisions, with the modules that do not guide them.

Other targets lead through such a module (parameters-*, packets-*, segment); here it is on the way,
or reads what has been written. It runs all the same, and may break a promise. Nor do
comparisons guide a scenario: what they compare are no pieces of its input.
"""
NAMES: Final = tuple(name for names in GROUPS.values() for name in names)


def load(name: str) -> Target:
    """The target of this name. Raises KeyError: there is none."""
    group = next((group for group, names in GROUPS.items() if name in names), None)
    if group is None:
        raise KeyError(name)
    targets: tuple[Target, ...] = import_module(f"fuzz.{group}").TARGETS
    return next(target for target in targets if target.name == name)
