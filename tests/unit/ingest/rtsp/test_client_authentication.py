"""How the client answers the challenges of cameras, and what it does when they refuse it."""

import hashlib

import pytest

from unit.ingest.rtsp.transcript import SDP, Conversation
from vigie.ingest.engine import EndCause
from vigie.ingest.rtsp.events import Failed


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


DIGEST = 'WWW-Authenticate: Digest realm="cam", nonce="n1"\r\n'


def test_digest_without_quality_of_protection() -> None:
    talk = Conversation(username="u", password="geheim")
    talk.until_describe()
    talk.answer("401 Unauthorized", DIGEST)
    uri = "rtsp://192.0.2.7/live"
    answer = md5(f"{md5('u:cam:geheim')}:n1:{md5(f'DESCRIBE:{uri}')}")
    authorization = talk.field("Authorization") or ""
    assert f'response="{answer}"' in authorization
    assert "qop" not in authorization
    talk.answer(body=SDP)
    assert "SETUP" in talk.last
    assert talk.field("Authorization"), "later requests carry it at once"


def test_digest_with_quality_of_protection_counts() -> None:
    talk = Conversation(username="u", password="geheim")
    talk.answer("401 Unauthorized", DIGEST.replace('"n1"', '"n1", qop="auth", opaque="o"'))
    assert "nc=00000001" in (talk.field("Authorization") or "")
    talk.until_describe()
    authorization = talk.field("Authorization") or ""
    uri = "rtsp://192.0.2.7/live"
    answer = md5(f"{md5('u:cam:geheim')}:n1:00000002:c0ffee:auth:{md5(f'DESCRIBE:{uri}')}")
    assert f'response="{answer}"' in authorization
    assert 'nc=00000002, cnonce="c0ffee", opaque="o"' in authorization


def test_a_stale_nonce_is_replaced_and_a_wrong_password_is_not_repeated() -> None:
    talk = Conversation(username="u", password="geheim")
    talk.answer("401 Unauthorized", DIGEST)
    talk.answer("401 Unauthorized", DIGEST.replace('"n1"', '"n2", stale=TRUE'))
    assert 'nonce="n2"' in (talk.field("Authorization") or "")
    talk.answer("401 Unauthorized", DIGEST.replace("n1", "n3"))
    assert talk.events == [
        Failed(EndCause.CREDENTIALS_REFUSED, "user or password refused at OPTIONS")
    ]


def test_endless_stale_nonces_end() -> None:
    talk = Conversation(username="u", password="geheim")
    for number in range(10):
        if talk.events:
            break
        talk.answer("401 Unauthorized", DIGEST.replace('"n1"', f'"n{number}", stale=true'))
    assert talk.events
    assert len(talk.sent) <= 5


def test_a_nonce_renewed_without_saying_so_is_taken_once_the_password_was_right() -> None:
    talk = Conversation(username="u", password="geheim")
    talk.answer("401 Unauthorized", DIGEST)
    talk.until_describe()
    talk.answer("401 Unauthorized", DIGEST.replace("n1", "n2"))
    assert 'nonce="n2"' in (talk.field("Authorization") or "")
    talk.answer(body=SDP)
    assert talk.last.startswith("SETUP ")


def test_keep_alives_are_authenticated_anew() -> None:
    talk = Conversation(username="u", password="geheim")
    talk.answer("401 Unauthorized", DIGEST)
    talk.until_playing()
    talk.client.keep_alive()
    talk._collect()
    talk.answer("401 Unauthorized", DIGEST.replace('"n1"', '"n9", stale="true"'))
    assert talk.last.startswith("GET_PARAMETER ")
    assert 'nonce="n9"' in (talk.field("Authorization") or "")
    talk.answer()
    assert not any(isinstance(event, Failed) for event in talk.events)


BASIC = 'WWW-Authenticate: Basic realm="x"\r\n'
SHA_256 = DIGEST.replace('"n1"', '"n1", algorithm=SHA-256, qop="auth,auth-int"')
SHA_512 = DIGEST.replace('"n1"', '"n1", algorithm=SHA-512-256')


@pytest.mark.parametrize(
    ("challenges", "expected"),
    [
        (BASIC, "Basic dTpnZWhlaW0="),
        (BASIC + DIGEST, "Digest "),
        ('WWW-Authenticate: Basic realm="x", Digest realm="y", nonce="n"\r\n', "Digest "),
        (DIGEST.lower() + SHA_256, "SHA-256"),
        (SHA_512 + BASIC, "Basic "),
        ("WWW-Authenticate: Negotiate, NTLM, Digest realm=y,nonce=n\r\n", "Digest "),
    ],
)
def test_the_best_of_several_challenges_is_answered(challenges: str, expected: str) -> None:
    talk = Conversation(username="u", password="geheim")
    talk.answer("401 Unauthorized", challenges)
    assert expected in (talk.field("Authorization") or "")


def test_a_session_algorithm_keeps_its_key() -> None:
    talk = Conversation(username="u", password="geheim")
    talk.answer(
        "401 Unauthorized",
        'WWW-Authenticate: Digest realm="y", nonce="n", algorithm=MD5-sess, qop="auth"\r\n',
    )
    key = md5(f"{md5('u:y:geheim')}:n:c0ffee")
    request = md5("OPTIONS:rtsp://192.0.2.7/live")
    answer = md5(f"{key}:n:00000001:c0ffee:auth:{request}")
    assert f'response="{answer}"' in (talk.field("Authorization") or "")


def test_without_credentials_they_are_asked_for() -> None:
    talk = Conversation()
    talk.answer("401 Unauthorized", DIGEST)
    assert talk.events == [
        Failed(EndCause.CREDENTIALS_REFUSED, "user and password are asked for at OPTIONS")
    ]


def test_an_unanswerable_challenge_is_refused_credentials() -> None:
    talk = Conversation(username="u", password="geheim")
    talk.answer("401 Unauthorized", DIGEST.replace('"n1"', '"n1", qop="auth-int"'))
    assert isinstance(talk.events[0], Failed)
    assert talk.events[0].cause is EndCause.CREDENTIALS_REFUSED


def test_a_hostile_challenge_cannot_write_header_fields() -> None:
    talk = Conversation(username="u", password="geheim")
    talk.answer("401 Unauthorized", 'WWW-Authenticate: Digest realm="a\\"b", nonce="x\ty"\r\n')
    sent = talk.sent[-1]
    assert sent.count("\r\n") == 3
    assert 'realm="a\\"b"' in sent
    assert 'nonce="xy"' in sent


def test_no_secret_in_what_the_operator_reads() -> None:
    talk = Conversation(
        uri="rtsp://192.0.2.7/live?user=u&password=geheim", username="u", password="geheim"
    )
    talk.until_describe()
    talk.answer("404 rtsp://u:geheim@192.0.2.7/live?password=geheim\x07not found")
    (event,) = talk.events
    assert isinstance(event, Failed)
    assert "geheim" not in event.detail
    assert event.detail.isprintable()
    assert "geheim" not in repr(talk.address)
    assert "geheim" not in repr(talk.client._authenticator)
