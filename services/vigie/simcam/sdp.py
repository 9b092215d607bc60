"""Session descriptions (RFC 8866) with the parameter sets (RFC 6184, 8.2; RFC 7798, 7.2)."""

import base64

from vigie.simcam.footage import Footage
from vigie.simcam.packetize import PAYLOAD_TYPE

VIDEO_TRACK = "trackID=0"
AUDIO_TRACK = "trackID=1"


def describe(footage: Footage, camera: str, host: str, *, with_audio: bool) -> bytes:
    """The SDP of a camera.

    Args:
        footage: what it shows now.
        camera: its name.
        host: numeric address it is reached at.
        with_audio: also offer a sound track (G.711), which a recorder must not set up.
    """
    family = "IP6" if ":" in host else "IP4"
    lines = [
        "v=0",
        f"o=- 1 1 IN {family} {host}",
        f"s={camera}",
        f"c=IN {family} {'::' if family == 'IP6' else '0.0.0.0'}",  # noqa: S104 - SDP's "any", nothing is bound
        "t=0 0",
        "a=control:*",
        "a=range:npt=now-",
        f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
        f"a=rtpmap:{PAYLOAD_TYPE} {'H264' if footage.codec == 'h264' else 'H265'}/90000",
        f"a=fmtp:{PAYLOAD_TYPE} {_format_parameters(footage)}",
        f"a=framerate:{float(footage.frames_per_second):g}",
        f"a=control:{VIDEO_TRACK}",
    ]
    if with_audio:
        lines += ["m=audio 0 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", f"a=control:{AUDIO_TRACK}"]
    return ("\r\n".join(lines) + "\r\n").encode()


def _format_parameters(footage: Footage) -> str:
    encoded = [base64.b64encode(nal).decode() for nal in footage.parameter_sets]
    if footage.codec == "h264":
        profile = footage.parameter_sets[0][1:4].hex().upper()
        sets = ",".join(encoded)
        return f"packetization-mode=1; profile-level-id={profile}; sprop-parameter-sets={sets}"
    names = ("sprop-vps", "sprop-sps", "sprop-pps")
    return "; ".join(f"{name}={value}" for name, value in zip(names, encoded, strict=True))
