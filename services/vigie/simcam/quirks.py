"""Peculiarities of cameras that are within the standards, or so common that all must bear them."""

from enum import StrEnum
from typing import Final


class Quirk(StrEnum):
    """How a simulated camera differs from the usual one; none may cost a frame."""

    NO_CONTENT_BASE = "no-content-base"
    """DESCRIBE has no Content-Base: relative URLs hang on the request's (RFC 2326, C.1.1)."""
    ABSOLUTE_CONTROL = "absolute-control"
    """Tracks are named by complete URLs."""
    NO_SESSION_TIMEOUT = "no-session-timeout"
    """The Session header does not say when it expires: 60 s then (RFC 2326, 12.37)."""
    NO_RTP_INFO = "no-rtp-info"
    """PLAY does not announce the first sequence number and time stamp."""
    NO_REPORTS = "no-reports"
    """No RTCP at all: the camera's clock cannot be known."""
    NO_SPROP = "no-sprop"
    """Parameter sets come in-band only, never in the description."""
    NO_GET_PARAMETER = "no-get-parameter"
    """GET_PARAMETER and SET_PARAMETER are not implemented (501) and not listed."""
    LOWER_CASE_HEADERS = "lower-case-headers"
    """Names of response headers are in lower case, which is the same (RFC 2326, 4.2)."""
    OTHER_CHANNELS = "other-channels"
    """The camera answers with other interleaved channels than it was asked for."""
    LINE_FEEDS = "line-feeds"
    """Lines of the description end without a carriage return."""
    SEPARATE_PARAMETER_SETS = "separate-parameter-sets"
    """Each parameter set has a packet of its own instead of one STAP-A or AP."""
    DRESSED_PACKETS = "dressed-packets"
    """Each RTP packet has a contributing source, a header extension and padding (RFC 3550, 5)."""


PACKET_QUIRKS: Final = frozenset({Quirk.SEPARATE_PARAMETER_SETS, Quirk.DRESSED_PACKETS})
"""Quirks that change prepared packets; cameras without them share theirs."""
