"""Addresses of streams: what is accepted, and the user and password taken out of them."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from vigie.platform.config.secret import Secret
from vigie.platform.errors import VigieError
from vigie.platform.sealing import StreamLogin
from vigie.registry.reasons import CREDENTIALS_INVALID, STREAM_URI_INVALID

MAX_LENGTH: Final = 1000
SCHEMES: Final = ("rtsp", "rtsps", "http", "https", "srt", "rtmp", "rtmps", "udp", "rtp")
"""Schemes that are accepted unless the configuration says otherwise. ``file`` is not among them:
it would let whoever may enter a camera read files of the machine that receives."""

MASK: Final = "***"
"""What answers show in place of a secret in an address of before it was refused."""

# Ends of a parameter's name. `token` is what some makers call a profile; it is refused all the
# same, since as many call a bearer token so.
_SECRET_ENDINGS: Final = (
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "pswd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "authbasic",  # Dahua: Base64 of user and password
    "loginpas",  # Foscam
    "loginpass",
    "userpass",
    "streamkey",
    "stream_key",
)
# Last words of a name.
_SECRET_NAMES: Final = frozenset({"pass", "psw", "pw", "credentials"})
# Also names of harmless things (`auth=basic`, `key=main`): what is long is taken for a secret.
_DOUBTFUL_NAMES: Final = frozenset({"auth", "key", "sig", "signature", "hash", "jwt"})
_SHORTEST_SECRET: Final = 8
# The value is looked at and not taken: in `user=a_password=b_channel=1` it holds further pairs.
_PAIR: Final = re.compile(r"([\w.\-]+)=(?=([^&]*))")
_NEXT_PAIR: Final = re.compile(r"[_;/?,][A-Za-z]+=")
_VALUE_ENDS: Final = re.compile(r"[;?,]")
_ESCAPED_BREAKS: Final = re.compile(r"%(26|3b|2f|3f|2c)", re.IGNORECASE)
_WORD_BREAKS: Final = re.compile(r"[_.\-]")


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
    _check_parameters(parts, field)
    if parts.netloc.startswith("@") and parts.netloc.count("@") == 1 and scheme in {"udp", "rtp"}:
        # How libav writes "receive on this address": an empty user is no credential.
        return StreamAddress(parts._replace(scheme=scheme).geturl(), None)
    login = _login(parts, field)
    host = parts.netloc.rpartition("@")[2]
    return StreamAddress(parts._replace(scheme=scheme, netloc=host).geturl(), login)


def shown(uri: str) -> str:
    """An address as answers show it: without the secrets that were taken before they were refused.

    Such an address still works, since ingest is told it as it is; given back as it is shown, it
    is refused.
    """
    if "=" not in uri and "%" not in uri:
        return uri
    kept: list[str] = []
    rest = uri
    while (found := _secret(rest)) is not None:
        # To the next `&`: a secret may hold any other separator.
        end = rest.find("&", found.start)
        kept += rest[: found.start], MASK
        rest = rest[end:] if end >= 0 else ""
    cleared = "".join([*kept, rest])
    if _secret(_decoded(rest)) is not None:
        # The name is written with escapes; where its value ends is not worth the guess.
        parts = urlsplit(cleared)
        return parts._replace(path=f"/{MASK}", query="").geturl()
    return cleared


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


def _check_parameters(parts: SplitResult, field: str) -> None:
    """Refuse secrets in path and query: they would be shown wherever the address is (I11)."""
    text = f"{parts.path}?{parts.query}"
    found = _secret(text) or _secret(_decoded(text))
    if found is not None:
        why = f"its path or query has the parameter {found.name!r}, which could not be kept secret"
        raise _invalid(f"{why}; give user and password in `credentials`", field)


@dataclass(frozen=True, slots=True)
class _Secret:
    """A secret in a text: what it is called (in our list, not in the text), where it begins."""

    name: str
    start: int


def _secret(text: str) -> _Secret | None:
    """The first pair ``name=value`` whose value is a secret, wherever it stands.

    Makers write pairs into the path as well (``/user=u&password=p&channel=1``, also with ``_``
    instead of ``&``), and separate them by ``&``, ``;``, ``/`` or a second ``?``.
    """
    for pair in _PAIR.finditer(text):
        name, value = pair[1].lower(), pair[2]
        if not value or _NEXT_PAIR.match(value):
            continue  # an empty password keeps nobody out
        last = _WORD_BREAKS.split(name)[-1]
        is_long = len(_VALUE_ENDS.split(value)[0]) >= _SHORTEST_SECRET
        ending = next((each for each in _SECRET_ENDINGS if name.endswith(each)), "")
        if not ending and (last in _SECRET_NAMES or (last in _DOUBTFUL_NAMES and is_long)):
            ending = last
        if ending:
            return _Secret(ending, pair.end())
    return None


def _decoded(text: str) -> str:
    """A text as a camera reads it; a separator that is written with an escape separates nothing."""
    return unquote(_ESCAPED_BREAKS.sub("*", text))


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
