"""How a source is opened with libav, and what its failures mean."""

import errno
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

import av
import av.error

from vigie.ingest.engine import EndCause, SourceSpec
from vigie.ingest.rtsp.address import Scrubber

_RTSP: Final = frozenset({"rtsp", "rtsps", "rtspu"})
_FILES: Final = frozenset({"file"})
SCHEMES: Final = _RTSP | _FILES | {"http", "https", "udp", "rtp", "srt", "rtmp", "rtmps", "tcp"}
"""What is opened; other protocols of libav (concat, subfile ...) read what they like."""
_UNREACHABLE: Final = frozenset(
    {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT, errno.ENOENT}
)
_CAUSES: Final = (
    (
        (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError),
        EndCause.CREDENTIALS_REFUSED,
    ),
    (
        (
            av.error.InvalidDataError,
            av.error.DemuxerNotFoundError,
            av.error.ProtocolNotFoundError,
            av.error.DecoderNotFoundError,
        ),
        EndCause.STREAM_UNSUPPORTED,
    ),
)


@dataclass(frozen=True, slots=True)
class OpenPlan:
    """Arguments for ``av.open``; ``url`` holds the password and is never shown.

    Attributes:
        url: with credentials.
        options: of the demuxer and the protocol.
        is_file: an end is then an end, not a disconnect.
        transport: for `ConnectionInfo.transport`.
    """

    url: str
    options: dict[str, str]
    is_file: bool
    transport: str

    def __repr__(self) -> str:
        return f"OpenPlan({self.transport!r})"


def plan(source: SourceSpec) -> OpenPlan | None:
    """How to open ``source``; None when its scheme is none of `SCHEMES`."""
    try:
        parts = urlsplit(source.uri)
        scheme = parts.scheme.lower()
    except ValueError:
        return None
    if scheme not in SCHEMES:
        return None
    url = source.uri
    if source.username and parts.netloc:
        user = f"{quote(source.username, safe='')}:{quote(source.password, safe='')}"
        url = urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}"))
    options: dict[str, str] = {}
    if scheme in _RTSP:
        # Sound is not even set up; probing is needless, the description says it all.
        options = {
            # Elsewhere this would throw away what was read to find out what the source is.
            "fflags": "nobuffer",
            "rtsp_transport": "udp+tcp",
            "allowed_media_types": "video",
            "analyzeduration": "0",
            "probesize": "32",
            "reorder_queue_size": "64",
        }
    if scheme in {"rtsps", "https", "rtmps"} and source.verify_tls:
        options["tls_verify"] = "1"
    return OpenPlan(url, options, scheme in _FILES, f"libav/{scheme}")


def explain(error: av.error.FFmpegError, scrub: Scrubber, *, is_open: bool) -> tuple[EndCause, str]:
    """Cause and detail of a failure; libav's texts hold the full address, so they are not used."""
    if isinstance(error, av.error.ExitError) or error.errno == errno.ETIMEDOUT:
        if is_open:
            return EndCause.CAMERA_UNREACHABLE, "not opened in time"
        return EndCause.CAMERA_SILENT, "nothing came in time"
    detail = scrub(error.strerror or type(error).__name__)
    for kinds, cause in _CAUSES:
        if isinstance(error, kinds):
            return cause, detail
    if is_open or error.errno in _UNREACHABLE:
        return EndCause.CAMERA_UNREACHABLE, detail
    return EndCause.CLOSED_BY_CAMERA, detail
