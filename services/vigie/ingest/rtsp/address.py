"""Addresses of cameras: taken apart, put together, and shown without what is secret in them."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from vigie.ingest.engine import EndCause, SourceSpec
from vigie.ingest.rtsp.errors import RtspError

DEFAULT_PORTS: Final = {"rtsp": 554, "rtsps": 322}
_USER_INFO: Final = re.compile(r"(?<=//)[^/@\s]*@")
_WRITTEN_PASSWORD: Final = re.compile(r"//[^/?#\s]*?:([^/?#\s]*)@")
_ESCAPE: Final = re.compile(r"%[0-9A-F]{2}")
_QUERY: Final = re.compile(r"(?<=\?)[^\s\"'<>]+")
_MAX_DETAIL: Final = 160


@dataclass(frozen=True, slots=True)
class Address:
    """An RTSP address in parts.

    Attributes:
        uri: as requests carry it, without user and password.
        host: name or literal address, without brackets.
        port: explicit or the default of the scheme.
        secure: whether TLS is spoken (``rtsps``).
        username: from the address itself, decoded; empty when it has none.
        password: the same.
    """

    uri: str
    host: str
    port: int
    secure: bool
    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"Address({show(self.uri)!r})"


def parse(uri: str) -> Address:
    """Take an address apart.

    Raises:
        RtspError: CAMERA_UNREACHABLE, it is no usable rtsp(s) address.
    """
    try:
        parts = urlsplit(uri.strip())
        port = parts.port
        host = parts.hostname
    except ValueError:
        raise _unusable("it cannot be parsed") from None  # the text would quote the address
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS:
        raise _unusable("the scheme is not rtsp or rtsps")
    text = uri.strip()
    if not host or port == 0 or not text.isascii() or not text.isprintable() or " " in text:
        raise _unusable("it names no host, port 0, or characters that need escaping")
    netloc = parts.netloc.rpartition("@")[2]
    return Address(
        uri=parts._replace(scheme=scheme, netloc=netloc, fragment="").geturl(),
        host=host,
        port=port or DEFAULT_PORTS[scheme],
        secure=scheme == "rtsps",
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def _unusable(why: str) -> RtspError:
    return RtspError(EndCause.CAMERA_UNREACHABLE, f"the address cannot be used: {why}")


def show(text: str) -> str:
    """``text`` with user information and queries of addresses in it replaced by ``…``.

    Queries are hidden too, since many cameras take ``?user=…&password=…``.
    """
    return _QUERY.sub("…", _USER_INFO.sub("…@", text))


class Scrubber:
    """Makes text that came from outside fit for logs: one line, short, without secrets."""

    def __init__(self, *secrets: str) -> None:
        self._secrets = tuple(sorted({s for s in secrets if s}, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """The text on one line of printable characters, secrets and user information replaced."""
        for secret in self._secrets:
            text = text.replace(secret, "…")
        line = "".join(c if c.isprintable() else " " for c in show(text))
        return line if len(line) <= _MAX_DETAIL else line[: _MAX_DETAIL - 1] + "…"


def scrubber_for(source: SourceSpec, *more: str) -> Scrubber:
    """What takes the camera's password out of texts, whether it stands beside the address or in it.

    A camera may quote it as it was typed, or escaped as in an address. ``more`` is taken out, too.
    """
    secrets = {source.password, *more}
    written = _WRITTEN_PASSWORD.search(source.uri)
    if written is not None:
        secrets.update((written[1], unquote(written[1])))
    for secret in tuple(secrets):
        for escaped in (quote(secret, safe=""), quote(secret)):
            secrets.add(escaped)
            secrets.add(_ESCAPE.sub(lambda found: found[0].lower(), escaped))
    return Scrubber(*secrets)


def join_control(base: str, control: str) -> str:
    """The address of a media stream from the base of the description and ``a=control``.

    RFC 2326 C.1.1 asks for relative resolution, but cameras are written against clients that
    append: with ``rtsp://c/stream?channel=1`` and ``trackID=0`` they expect both joined by a
    slash, query or not. Only a control that repeats the path of the base is taken as absolute.
    """
    if not control or control == "*":
        return base
    if control.lower().startswith(("rtsp://", "rtsps://", "rtspu://")):
        return _USER_INFO.sub("", control)
    if control.startswith("/"):
        # By hand: the base is what a camera says, and urlsplit refuses some of it.
        scheme, separator, rest = base.partition("://")
        authority, _, path = rest.partition("/")
        directory = "/" + path.partition("?")[0].rstrip("/")
        if directory != "/" and control.startswith(directory + "/"):
            return f"{scheme}{separator}{authority}{control}"
        control = control.lstrip("/")
    return f"{base}{control}" if base.endswith("/") else f"{base}/{control}"


def resolve_redirect(current: Address, location: str) -> Address:
    """Where a redirect leads.

    Raises:
        RtspError: no usable address, or one that gives up the protection of TLS.
    """
    location = location.strip()
    if "://" not in location:
        location = join_control(f"{current.uri.split('://')[0]}://{_netloc(current)}", location)
    target = parse(location)
    if current.secure and not target.secure:
        raise RtspError(EndCause.STREAM_UNSUPPORTED, "redirected from rtsps to rtsp: refused")
    return target


def _netloc(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"
