"""Addresses of streams: what is accepted, and the user and password taken out of them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from vigie.platform.config.secret import Secret
from vigie.platform.errors import VigieError
from vigie.platform.sealing import StreamLogin
from vigie.registry.reasons import CREDENTIALS_INVALID, STREAM_URI_INVALID

MAX_LENGTH: Final = 1000
SCHEMES: Final = ("rtsp", "rtsps", "http", "https", "srt", "rtmp", "rtmps", "udp", "rtp")
"""Schemes that are accepted unless the configuration says otherwise. ``file`` is not among them:
it would let whoever may enter a camera read files of the machine that receives."""

_SECRET_PARAMETERS: Final = frozenset(
    {
        "password",
        "passwd",
        "passphrase",
        "pass",
        "pwd",
        "psw",
        "secret",
        "token",
        "apikey",
        "api_key",
    }
)


@dataclass(frozen=True, slots=True)
class StreamAddress:
    """An address without credentials, and the credentials that were in it."""

    uri: str
    login: StreamLogin | None


def parse_stream_uri(
    text: str, *, schemes: Collection[str] = SCHEMES, field: str = "camera.stream_uri"
) -> StreamAddress:
    """Check an address and take user and password (RFC 3986, section 3.2.1) out of it.

    No message repeats the address, because a password may stand in it where none is expected.

    Raises:
        VigieError: STREAM_URI_INVALID, CREDENTIALS_INVALID.
    """
    if not text:
        raise _invalid("it is empty", field)
    if len(text) > MAX_LENGTH:
        raise _invalid(f"it has more than {MAX_LENGTH} characters", field)
    if any(character.isspace() or not character.isprintable() for character in text):
        raise _invalid("it holds a blank or a control character", field)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _invalid("its host or port does not read as one", field) from None
    scheme = parts.scheme.lower()
    if scheme not in schemes:
        raise _invalid(f"its scheme is none of {', '.join(sorted(schemes))}", field)
    if port == 0:
        raise _invalid("its port is 0", field)
    if parts.fragment or text.endswith("#"):
        raise _invalid("it has a fragment (`#…`); write `%23` if the path has that sign", field)
    _check_host(parts, scheme, field)
    _check_query(parts, field)
    if parts.netloc.startswith("@") and parts.netloc.count("@") == 1 and scheme in {"udp", "rtp"}:
        # How libav writes "receive on this address": an empty user is no credential.
        return StreamAddress(parts._replace(scheme=scheme).geturl(), None)
    login = _login(parts, field)
    host = parts.netloc.rpartition("@")[2]
    return StreamAddress(parts._replace(scheme=scheme, netloc=host).geturl(), login)


def check_login(login: StreamLogin, *, field: str = "camera.credentials") -> StreamLogin:
    """The same credentials, when a camera can be told them (RFC 7617, section 2).

    Raises:
        VigieError: CREDENTIALS_INVALID.
    """
    if not login.username:
        raise VigieError(CREDENTIALS_INVALID, "the user name is empty", field=f"{field}.username")
    if ":" in login.username:
        raise VigieError(
            CREDENTIALS_INVALID, "a user name holds no colon", field=f"{field}.username"
        )
    for name, value, limit in (
        ("username", login.username, 128),
        ("password", login.password.reveal(), 256),
    ):
        if len(value) > limit:
            raise VigieError(
                CREDENTIALS_INVALID, f"more than {limit} characters", field=f"{field}.{name}"
            )
        if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):  # noqa: PLR2004 - limits of the ASCII control characters
            raise VigieError(CREDENTIALS_INVALID, "a control character", field=f"{field}.{name}")
    return login


def _check_host(parts: SplitResult, scheme: str, field: str) -> None:
    if scheme == "file":
        if parts.netloc or not parts.path.startswith("/"):
            raise _invalid("a file is written file:///absolute/path", field)
        return
    if not parts.hostname:
        raise _invalid("it names no host", field)
    if any(sign in parts.hostname for sign in "%\\\"'<>^`{|}"):
        raise _invalid("its host holds a sign that no host name has", field)


def _check_query(parts: SplitResult, field: str) -> None:
    """Refuse secrets in the query: they would be shown wherever the address is (I11)."""
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if name.lower() in _SECRET_PARAMETERS:
            why = f"its query has the parameter {name.lower()!r}, which could not be kept secret"
            raise _invalid(f"{why}; give user and password in `credentials`", field)


def _login(parts: SplitResult, field: str) -> StreamLogin | None:
    user_info, at, _ = parts.netloc.rpartition("@")
    if not at:
        return None
    username, _, password = user_info.partition(":")
    return check_login(StreamLogin(unquote(username), Secret(unquote(password))), field=field)


def _invalid(why: str, field: str) -> VigieError:
    return VigieError(
        STREAM_URI_INVALID, f"the address of the stream is refused: {why}", field=field
    )
