"""Session descriptions (RFC 8866) with the parameter sets (RFC 6184, 8.2; RFC 7798, 7.2)."""

import base64

from vigie.simcam.config import CameraConfig
from vigie.simcam.footage import Footage
from vigie.simcam.packetize import PAYLOAD_TYPE
from vigie.simcam.quirks import Quirk

VIDEO_TRACK = "trackID=0"
AUDIO_TRACK = "trackID=1"


def describe(footage: Footage, config: CameraConfig, host: str, base: str) -> bytes:
    """The SDP of a camera.

    Args:
        footage: what it shows now.
        config: its name and peculiarities; with ``has_audio`` a sound track (G.711) is offered.
        host: numeric address it is reached at.
        base: URL that tracks hang on.
    """
    quirks = config.quirks
    prefix = base + "/" if Quirk.ABSOLUTE_CONTROL in quirks else ""
    with_sprop = Quirk.NO_SPROP not in quirks
    family = "IP6" if ":" in host else "IP4"
    lines = [
        "v=0",
        f"o=- 1 1 IN {family} {host}",
        f"s={config.id}",
        f"c=IN {family} {'::' if family == 'IP6' else '0.0.0.0'}",  # noqa: S104 - SDP's "any", nothing is bound
        "t=0 0",
        "a=control:*",
        "a=range:npt=now-",
        f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
        f"a=rtpmap:{PAYLOAD_TYPE} {'H264' if footage.codec == 'h264' else 'H265'}/90000",
        f"a=fmtp:{PAYLOAD_TYPE} {_format_parameters(footage, with_sprop=with_sprop)}",
        f"a=framerate:{float(footage.frames_per_second):g}",
        f"a=control:{prefix}{VIDEO_TRACK}",
    ]
    if config.has_audio:
        lines += ["m=audio 0 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", f"a=control:{prefix}{AUDIO_TRACK}"]
    end = "\n" if Quirk.LINE_FEEDS in quirks else "\r\n"
    return (end.join(lines) + end).encode()


def _format_parameters(footage: Footage, *, with_sprop: bool) -> str:
    encoded = [base64.b64encode(nal).decode() for nal in footage.parameter_sets]
    if footage.codec == "h264":
        profile = footage.parameter_sets[0][1:4].hex().upper()
        sets = ",".join(encoded)
        text = f"packetization-mode=1; profile-level-id={profile}"
        return text + (f"; sprop-parameter-sets={sets}" if with_sprop else "")
    if not with_sprop:
        return "tx-mode=SRST"
    names = ("sprop-vps", "sprop-sps", "sprop-pps")
    return "; ".join(f"{name}={value}" for name, value in zip(names, encoded, strict=True))
