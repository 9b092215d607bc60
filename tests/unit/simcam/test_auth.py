import base64
import hashlib
import re

import pytest

from vigie.platform.clock import ManualMonotonicClock
from vigie.simcam.auth import Authenticator, Credentials

URI = "rtsp://127.0.0.1/cam-01/"


def answer(
    challenge: str,
    password: str = "secret",
    method: str = "DESCRIBE",
    count: int = 1,
    **change: str,
) -> str:
    """A client's answer, computed from RFC 7616 alone."""
    fields = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge.partition(" ")[2]))
    hasher = hashlib.sha256 if fields.get("algorithm") == "SHA-256" else hashlib.md5

    def digest(text: str) -> str:
        return hasher(text.encode()).hexdigest()

    secret = digest(f"operator:{fields['realm']}:{password}")
    request = digest(f"{method}:{URI}")
    values = {
        "username": "operator",
        "realm": fields["realm"],
        "nonce": fields["nonce"],
        "uri": URI,
        "algorithm": fields["algorithm"],
    }
    if "qop" in fields:
        counted = f"{count:08x}:0a4f113b:auth"
        values |= {"qop": "auth", "nc": f"{count:08x}", "cnonce": "0a4f113b"}
        values["response"] = digest(f"{secret}:{fields['nonce']}:{counted}:{request}")
    else:
        values["response"] = digest(f"{secret}:{fields['nonce']}:{request}")
    values |= change
    bare = ("qop", "nc", "algorithm")
    return "Digest " + ", ".join(
        f"{k}={v}" if k in bare else f'{k}="{v}"' for k, v in values.items()
    )


def authenticator(clock: ManualMonotonicClock | None = None, **fields: object) -> Authenticator:
    data = {"username": "operator", "password": "secret", **fields}
    return Authenticator(Credentials.model_validate(data), clock or ManualMonotonicClock())


@pytest.mark.parametrize("scheme", ["digest-md5", "digest-sha256"])
@pytest.mark.parametrize("quality", ["true", "false"])
def test_the_right_password_passes_and_a_wrong_one_does_not(scheme: str, quality: str) -> None:
    door = authenticator(schemes=(scheme,), quality_of_protection=quality)
    accepted, challenges = door.check("DESCRIBE", None)
    assert not accepted
    assert len(challenges) == 1
    assert door.check("DESCRIBE", answer(challenges[0])) == (True, [])
    assert not door.check("DESCRIBE", answer(challenges[0], "guess", count=2))[0]
    assert not door.check("SETUP", answer(challenges[0], count=3))[0]  # made for another method
    assert not door.check("DESCRIBE", answer(challenges[0], count=4, realm="elsewhere"))[0]


def test_every_offered_scheme_is_challenged_in_order() -> None:
    door = authenticator(schemes=("digest-sha256", "digest-md5", "basic"))
    challenges = door.challenges()
    assert [c.partition(" ")[0] for c in challenges] == ["Digest", "Digest", "Basic"]
    assert "SHA-256" in challenges[0]


def test_an_algorithm_that_was_not_offered_is_refused() -> None:
    door = authenticator(schemes=("digest-sha256",))
    challenge = door.challenges()[0].replace("SHA-256", "MD5")
    assert not door.check("DESCRIBE", answer(challenge))[0]


def test_an_old_nonce_is_stale_and_the_new_one_works() -> None:
    clock = ManualMonotonicClock()
    door = authenticator(clock, nonce_seconds=10.0)
    challenge = door.challenges()[0]
    assert door.check("DESCRIBE", answer(challenge))[0]
    clock._now_us += 11_000_000
    accepted, fresh = door.check("DESCRIBE", answer(challenge, count=2))
    assert not accepted
    assert "stale=true" in fresh[0]
    assert door.check("DESCRIBE", answer(fresh[0]))[0]


def test_forgotten_nonces_are_stale() -> None:
    door = authenticator()
    challenge = door.challenges()[0]
    door.forget_nonces()
    accepted, fresh = door.check("DESCRIBE", answer(challenge))
    assert not accepted
    assert "stale=true" in fresh[0]


def test_a_replayed_count_is_refused() -> None:
    door = authenticator()
    challenge = door.challenges()[0]
    assert door.check("DESCRIBE", answer(challenge, count=5))[0]
    assert not door.check("DESCRIBE", answer(challenge, count=5))[0]


def test_basic() -> None:
    door = authenticator(schemes=("basic",))
    right = base64.b64encode(b"operator:secret").decode()
    assert door.check("DESCRIBE", f"Basic {right}")[0]
    assert not door.check("DESCRIBE", f"Basic {base64.b64encode(b'operator:x').decode()}")[0]
    assert not door.check("DESCRIBE", "Basic not base64!")[0]
    assert not authenticator().check("DESCRIBE", f"Basic {right}")[0]


@pytest.mark.parametrize("header", ["", "Digest", "Digest nonce=", "Bearer x", 'Digest nc="zz"'])
def test_nonsense_is_refused(header: str) -> None:
    assert not authenticator().check("DESCRIBE", header)[0]


def test_the_password_is_not_printed() -> None:
    assert "secret" not in repr(Credentials(username="operator", password="secret"))
