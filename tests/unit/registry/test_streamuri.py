from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigie.platform.config.secret import Secret
from vigie.platform.errors import VigieError
from vigie.platform.sealing import StreamLogin
from vigie.registry.streamuri import check_login, parse_stream_uri, shown


@pytest.mark.parametrize(
    ("text", "uri", "login"),
    [
        ("rtsp://10.0.0.8:554/stream1", "rtsp://10.0.0.8:554/stream1", None),
        ("RTSP://10.0.0.8/a?channel=1", "rtsp://10.0.0.8/a?channel=1", None),
        ("rtsps://[2001:db8::1]:322/a", "rtsps://[2001:db8::1]:322/a", None),
        ("rtsp://u:p@10.0.0.8/a", "rtsp://10.0.0.8/a", ("u", "p")),
        ("rtsp://u@10.0.0.8/a", "rtsp://10.0.0.8/a", ("u", "")),
        ("rtsp://u:p%40x%3A@[::1]:554/", "rtsp://[::1]:554/", ("u", "p@x:")),
        ("rtsp://u:p@ss@10.0.0.8/a", "rtsp://10.0.0.8/a", ("u", "p@ss")),
        ("srt://10.0.0.8:9000?mode=caller", "srt://10.0.0.8:9000?mode=caller", None),
    ],
)
def test_credentials_are_taken_out(text: str, uri: str, login: tuple[str, str] | None) -> None:
    found = parse_stream_uri(text)
    assert found.uri == uri
    assert found.login == (StreamLogin(login[0], Secret(login[1])) if login else None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rtsp://",
        "rtsp:///path",
        "rtsp://host:0/",
        "rtsp://host:99999/",
        "rtsp://host:port/",
        "rtsp://ho st/",
        "rtsp://host/a\nb",
        "rtsp://host/\x00",
        "rtsp://host/a#b",
        "rtsp://[::1/a",
        "rtsp://ho%2Fst/",
        "ftp://host/a",
        "file:///etc/passwd",
        "http://host/video?user=a&password=s3cret",
        "srt://host:9000?passphrase=s3cret",
        "rtsp://h:554/user=admin&password=s3cret&channel=1&stream=0.sdp?real_stream",
        "rtsp://h:554/user=admin_password=s3cret_channel=1_stream=0.sdp?real_stream",
        "rtsp://h/cam/realmonitor?channel=1&authbasic=YWRtaW46czNjcmV0",
        "http://h/videostream.asf?loginuse=admin&loginpas=s3cret",
        "http://h/v?access_token=s3cret",
        "http://h/v?usr=admin&pw=s3cret",
        "http://h/v?userpwd=admin:s3cret",
        "http://h/v?auth=YWRtaW46czNjcmV0",
        "rtmp://h/live/one?key=s3crets3cret",
        "rtmp://h/live?sig=s3crets3cret",
        "rtsp://h/live?a=1;pwd=s3cret",
        "rtsp://h/live?a=1?PWD=s3cret",
        "rtsp://h/a/pass=s3cret/b",
        "rtsp://h/live?%70wd=s3cret",
        "rtsp://h/live?a=1%26camera_password=s3cret",
        "rtsp://h/live?password=_s3cret",
        "rtsp://h/live?password=/s3cret",
        "rtsp://h/live?pwd=,s3cret&a=1",
        "rtsp://h/live?pwd=%26s3cret",
        "rtsp://h/live?%70wd=%26s3cret",
        "http://h/v?auth=YWR/aW46czNjcmV0",
        "rtsp://host/" + "a" * 1000,
        "10.0.0.8",
    ],
)
def test_what_is_no_address_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(VigieError, match="STREAM_URI_INVALID") as caught:
        parse_stream_uri(text)
    assert caught.value.field == "camera.stream_uri"
    assert "s3cret" not in str(caught.value)


def test_files_only_where_the_configuration_allows_them() -> None:
    assert parse_stream_uri("file:///srv/a.mp4", schemes=("file",)).uri == "file:///srv/a.mp4"
    with pytest.raises(VigieError, match="STREAM_URI_INVALID"):
        parse_stream_uri("file://host/a.mp4", schemes=("file",))


@pytest.mark.parametrize(
    ("username", "password"),
    [("", "p"), ("a:b", "p"), ("a\r\nb", "p"), ("a", "p\x7f"), ("a" * 129, "p"), ("a", "p" * 257)],
)
def test_credentials_a_camera_cannot_be_told(username: str, password: str) -> None:
    with pytest.raises(VigieError, match="CREDENTIALS_INVALID") as caught:
        check_login(StreamLogin(username, Secret(password)))
    assert password not in str(caught.value) or len(password) == 1


@given(st.text(max_size=200))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        found = parse_stream_uri(f"rtsp://{text}")
    except VigieError:
        return
    assert "@" not in found.uri.split("/")[2]


@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters=":"),
        min_size=1,
        max_size=40,
    ),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=40),
)
def test_whatever_is_quoted_comes_back(username: str, password: str) -> None:
    found = parse_stream_uri(f"rtsp://{quote(username, safe='')}:{quote(password, safe='')}@h/a")
    assert found.uri == "rtsp://h/a"
    assert found.login == StreamLogin(username, Secret(password))


def test_the_multicast_form_of_libav_is_kept() -> None:
    # ``udp://@group:port`` says "receive": an empty user is no credential.
    assert parse_stream_uri("udp://@239.0.0.1:5000").uri == "udp://@239.0.0.1:5000"


@pytest.mark.parametrize(
    "uri",
    [
        "rtsp://h:554/user=admin&password=&channel=1&stream=0.sdp?real_stream",
        "rtsp://h:554/user=admin_password=_channel=1_stream=0.sdp?real_stream",
        "rtsp://h/cam/realmonitor?channel=1&subtype=0",
        "rtsp://h/live?auth=basic&key=main&sig=1",
        "rtsp://h/live?keyframe=12345678&author=12345678&monkey=12345678",
        "rtsp://h/passage/pwdoor?bypass=12345678&compass=north",
        "udp://@239.0.0.1:1234?localaddr=10.0.0.1",
    ],
)
def test_what_only_looks_like_a_secret_is_taken_and_shown(uri: str) -> None:
    assert parse_stream_uri(uri).uri == uri
    assert shown(uri) == uri


@pytest.mark.parametrize(
    ("kept", "seen"),
    [
        (
            "rtsp://h/user=admin&password=s3cret&channel=1&stream=0.sdp?real_stream",
            "rtsp://h/user=admin&password=***&channel=1&stream=0.sdp?real_stream",
        ),
        ("rtsp://h/user=a_password=s3cret_channel=1", "rtsp://h/user=a_password=***"),
        ("rtsp://h/a?pwd=s3;cr/et&b=1&token=s3cret", "rtsp://h/a?pwd=***&b=1&token=***"),
        ("rtsp://h:554/a?%70wd=s3cret", "rtsp://h:554/***"),
        ("rtsp://h/a?pwd=s3cret&%70wd=s3cret", "rtsp://h/***"),
    ],
)
def test_addresses_of_before_are_shown_without_their_secrets(kept: str, seen: str) -> None:
    assert shown(kept) == seen
    assert shown(seen) == seen


@given(st.text(alphabet="apwd=&;/?_%1", max_size=40))
def test_what_is_accepted_is_shown_as_it_is(text: str) -> None:
    try:
        uri = parse_stream_uri(f"rtsp://h/{text}").uri
    except VigieError:
        return
    assert shown(uri) == uri
