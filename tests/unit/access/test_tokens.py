import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OctKey, OKPKey

from unit.access.conftest import NOON_US, Desk, make_desk
from vigie.access.issuer import KEY_FILE, load_or_create_key
from vigie.access.settings import DEVELOPMENT_ISSUER, AccessConfig
from vigie.platform.errors import VigieError
from vigie.platform.identity import IdentityRefusedError

NOW = NOON_US // 1_000_000


def own_key(desk: Desk, tmp_path: Path) -> OKPKey:
    return load_or_create_key(tmp_path / "data" / "access")


def forge(key: Key, *, alg: str = "Ed25519", kid: str | None = None, **changes: Any) -> str:
    claims: dict[str, Any] = {
        "iss": DEVELOPMENT_ISSUER,
        "aud": "vigie",
        "sub": "operator-1",
        "exp": NOW + 60,
    }
    claims |= changes
    claims = {name: value for name, value in claims.items() if value is not None}
    header = {"alg": alg, "kid": key.thumbprint() if kid is None else kid}
    return jwt.encode(header, claims, key, algorithms=[alg])


async def reason(desk: Desk, token: str) -> str:
    with pytest.raises(VigieError) as caught:
        await desk.module.authenticator.authenticate(token)
    assert token[:20] not in str(caught.value)
    return caught.value.reason.name


async def test_a_token_of_the_embedded_issuer_stands_for_its_person(desk: Desk) -> None:
    token = desk.module.issuer.create_token("operator-1", 60)
    identity = await desk.module.authenticator.authenticate(token)
    caller = identity.caller
    assert (caller.subject, caller.agency, caller.roles) == (
        "operator-1",
        "police-municipale",
        ("operator",),
    )
    assert identity.expires_at_us == NOON_US + 60_000_000
    assert "zone-a" in caller.zones("footage.play")
    assert "zone-b" not in caller.zones("footage.play")
    assert not caller.zones("audit.read")


async def test_roles_add_up_zone_by_zone(desk: Desk) -> None:
    token = desk.module.issuer.create_token("investigator-1", 60)
    caller = (await desk.module.authenticator.authenticate(token)).caller
    assert caller.zones("footage.play").names == {"zone-a", "zone-b", "zone-c"}
    assert caller.zones("evidence.request").names == {"zone-a", "zone-b"}
    assert caller.zones("live.watch").names == {"zone-c"}


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "somebody-else"},
        {"aud": "other"},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 5},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": True},
        {"exp": 1e300},
        {"nbf": NOW + 60},
        {"iat": NOW + 60},
        {"alg": "EdDSA", "kid": "unknown"},
    ],
)
async def test_wrong_claims_are_refused(
    desk: Desk, tmp_path: Path, changes: dict[str, Any]
) -> None:
    assert await reason(desk, forge(own_key(desk, tmp_path), **changes)) == "TOKEN_INVALID"


async def test_forged_tokens_are_refused(desk: Desk, tmp_path: Path) -> None:
    key = own_key(desk, tmp_path)
    kid = key.thumbprint()
    good = forge(key)
    header, payload, signature = good.split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": kid}).encode()).decode()
    other = base64.urlsafe_b64encode(json.dumps({"sub": "auditor-1"}).encode()).decode()
    public = str(key.as_dict(private=False)["x"])  # known to everybody: no secret for an HMAC
    attempts = [
        forge(OKPKey.generate_key("Ed25519"), kid=kid),
        forge(ECKey.generate_key("P-256"), alg="ES256", kid=kid),
        forge(OctKey.import_key(public), alg="HS256", kid=kid),
        f"{none.rstrip('=')}.{payload}.",
        f"{header}.{other.rstrip('=')}.{signature}",
        f"{header}.{payload}.{signature[:-4]}AAAA",
        "nonsense",
        "a.b.c",
        "x" * 10_000,
    ]
    for token in attempts:
        assert await reason(desk, token) == "TOKEN_INVALID"
    assert (await desk.module.authenticator.authenticate(good)).caller.subject == "operator-1"


async def test_an_expired_token_is_refused_under_its_name(desk: Desk) -> None:
    token = desk.module.issuer.create_token("operator-1", 60)
    desk.wall.advance(60)
    with pytest.raises(IdentityRefusedError) as caught:
        await desk.module.authenticator.authenticate(token)
    assert caught.value.reason.name == "TOKEN_EXPIRED"
    assert caught.value.claimed.subject == "operator-1"
    assert not caught.value.claimed.grants


async def test_who_is_not_designated_is_refused(desk: Desk) -> None:
    token = desk.module.issuer.create_token("nobody-1", 60)
    assert await reason(desk, token) == "PERSON_UNKNOWN"


async def test_services_hold_what_services_need_and_no_footage(desk: Desk) -> None:
    token = await desk.module.token_source("evidence").token()
    caller = (await desk.module.authenticator.authenticate(token)).caller
    assert (caller.subject, caller.service) == ("service:evidence", True)
    assert caller.zones("footage.timeline").everywhere
    assert not caller.zones("footage.play")


async def test_service_tokens_are_renewed_before_they_end(desk: Desk) -> None:
    source = desk.module.token_source("evidence")
    first = await source.token()
    assert await source.token() == first
    desk.wall.advance(3400)
    second = await source.token()
    assert second != first
    desk.wall.advance(300)
    assert await desk.module.authenticator.authenticate(second)


def provider(tmp_path: Path, *keys: Key, **more: Any) -> AccessConfig:
    jwks = tmp_path / "jwks.json"
    public = [key.as_dict(private=False) | {"kid": f"k{index}"} for index, key in enumerate(keys)]
    jwks.write_text(json.dumps({"keys": public}))
    return AccessConfig(
        people_file=tmp_path / "people.toml", jwks_file=jwks, jwks_issuer="https://id", **more
    )


async def test_an_identity_provider_speaks_for_people_but_not_for_services(
    tmp_path: Path,
) -> None:
    curve, edwards = ECKey.generate_key("P-256"), OKPKey.generate_key("Ed25519")
    desk = make_desk(tmp_path, provider(tmp_path, curve, edwards, development_issuer=False))
    desk.module.directory.load()
    for token in (
        forge(curve, alg="ES256", kid="k0", iss="https://id", aud=["x", "vigie"]),
        forge(edwards, kid="k1", iss="https://id"),
    ):
        identity = await desk.module.authenticator.authenticate(token)
        assert identity.caller.subject == "operator-1"
    service = forge(edwards, kid="k1", iss="https://id", use="service")
    assert await reason(desk, service) == "TOKEN_INVALID"
    foreign = forge(edwards, kid="k1")  # names the embedded issuer, signed by the provider
    assert await reason(desk, foreign) == "TOKEN_INVALID"
    embedded = desk.module.issuer.create_token("operator-1", 60)
    assert await reason(desk, embedded) == "TOKEN_INVALID"
    assert await desk.module.authenticator.authenticate(
        await desk.module.token_source("evidence").token()
    )


async def test_the_keys_of_a_provider_are_followed(tmp_path: Path) -> None:
    old, new = OKPKey.generate_key("Ed25519"), ECKey.generate_key("P-256")
    desk = make_desk(tmp_path, provider(tmp_path, old))
    desk.module.directory.load()
    old_token = forge(old, kid="k0", iss="https://id")
    new_token = forge(new, alg="ES256", kid="k1", iss="https://id")
    authenticator, revision = desk.module.authenticator, desk.module.authenticator.revision
    stream = await authenticator.authenticate(old_token)
    assert await reason(desk, new_token) == "TOKEN_INVALID"

    provider(tmp_path, old, new)
    await desk.module.keys.refresh()
    assert authenticator.revision > revision, "open streams are looked at again"
    newer = await authenticator.authenticate(new_token)
    assert (await authenticator.revalidate(stream)).caller.subject == "operator-1"

    (tmp_path / "jwks.json").write_text("{}")
    await desk.module.keys.refresh()
    assert desk.metrics.value("vigie_access_jwks_file_good") == 0
    assert await authenticator.authenticate(old_token)

    jwks = {"keys": [new.as_dict(private=False) | {"kid": "k1"}]}
    (tmp_path / "jwks.json").write_text(json.dumps(jwks))
    await desk.module.keys.refresh()
    assert desk.metrics.value("vigie_access_jwks_file_good") == 1
    assert await reason(desk, old_token) == "TOKEN_INVALID"
    with pytest.raises(VigieError, match="no longer trusted"):
        await authenticator.revalidate(stream)
    assert await authenticator.revalidate(newer)


async def test_a_key_that_takes_the_name_of_another_does_not_speak_for_its_tokens(
    tmp_path: Path,
) -> None:
    """The provider replaces a key and keeps its ``kid``: streams of the old key's tokens end."""
    old, new = OKPKey.generate_key("Ed25519"), OKPKey.generate_key("Ed25519")
    desk = make_desk(tmp_path, provider(tmp_path, old))
    desk.module.directory.load()
    authenticator = desk.module.authenticator
    token = forge(old, kid="k0", iss="https://id")
    stream = await authenticator.authenticate(token)
    embedded = await authenticator.authenticate(desk.module.issuer.create_token("operator-1", 60))

    provider(tmp_path, new)
    await desk.module.keys.refresh()
    assert await reason(desk, token) == "TOKEN_INVALID"
    with pytest.raises(VigieError, match="no longer trusted"):
        await authenticator.revalidate(stream)
    assert (await authenticator.revalidate(embedded)).caller.subject == "operator-1"

    provider(tmp_path, new, old)
    await desk.module.keys.refresh()
    with pytest.raises(VigieError, match="no longer trusted"):  # it has another name now
        await authenticator.revalidate(stream)

    provider(tmp_path, old)
    await desk.module.keys.refresh()
    assert (await authenticator.revalidate(stream)).caller.subject == "operator-1"


async def test_keys_that_disappear_stay_in_force(tmp_path: Path) -> None:
    key = OKPKey.generate_key("Ed25519")
    desk = make_desk(tmp_path, provider(tmp_path, key))
    desk.module.directory.load()
    (tmp_path / "jwks.json").unlink()
    await desk.module.keys.refresh()
    assert desk.metrics.value("vigie_access_jwks_file_good") == 0
    assert await desk.module.authenticator.authenticate(forge(key, kid="k0", iss="https://id"))


@pytest.mark.parametrize(
    "content",
    ["", "{}", '{"keys": [{"kty": "oct", "k": "AAAA", "kid": "a"}]}', '{"keys": [{"kty": "OKP"}]}'],
)
def test_a_broken_key_set_is_explained(tmp_path: Path, content: str) -> None:
    config = provider(tmp_path, OKPKey.generate_key("Ed25519"))
    assert config.jwks_file is not None
    config.jwks_file.write_text(content)
    with pytest.raises(VigieError, match=r"jwks\.json") as caught:
        make_desk(tmp_path, config)
    assert caught.value.reason.name == "CONFIG_INVALID"


def test_the_key_of_the_embedded_issuer_is_its_owners_alone(tmp_path: Path) -> None:
    key = load_or_create_key(tmp_path)
    file = tmp_path / KEY_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load_or_create_key(tmp_path).thumbprint() == key.thumbprint()
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]
    file.chmod(0o640)
    with pytest.raises(VigieError, match="chmod 600"):
        load_or_create_key(tmp_path)
    file.write_text("{}")
    file.chmod(0o600)
    with pytest.raises(VigieError, match="is no key"):
        load_or_create_key(tmp_path)


@pytest.mark.parametrize("hours", [-1, 1])
async def test_services_go_on_calling_each_other_when_the_clock_is_set(
    desk: Desk, hours: int
) -> None:
    """A token from before would lie in the future, or have ended, for an hour."""
    source = desk.module.token_source("evidence")
    await desk.module.authenticator.authenticate(await source.token())
    desk.wall.advance(hours * 3600)
    identity = await desk.module.authenticator.authenticate(await source.token())
    assert identity.caller.subject == "service:evidence"
