"""What is wrong or missing is told in one clear line at the start, and when it happens later."""

import re
import ssl
from pathlib import Path

import pytest

from integration.s3.between import Answer, Between, Forward, Request
from integration.s3.rig import KEY, QUICK, Rig, content_of, put, reason_of
from servers_s3 import new_bucket, remove_bucket
from vigie.platform.clock import ManualWallClock, SystemWallClock
from vigie.platform.errors import VigieError

_HOUR_US = 3_600_000_000


async def refusal(work: object) -> VigieError:
    with pytest.raises(VigieError) as raised:
        await work  # type: ignore[misc] # any awaitable
    return raised.value


async def test_a_missing_bucket(rig: Rig) -> None:
    error = await refusal(rig.open(bucket="no-such-bucket-of-ours"))
    assert error.reason.name == "STORE_BUCKET_MISSING"
    assert "no-such-bucket-of-ours" in error.message


async def test_wrong_credentials_say_so_and_never_themselves(rig: Rig) -> None:
    wrong = rig.folder / "wrong"
    wrong.write_text("very-secret-and-wrong")
    error = await refusal(rig.open(secret_key_file=wrong))
    assert error.reason.name == "STORE_REFUSED"
    assert "SignatureDoesNotMatch" in error.message
    assert "very-secret" not in str(error)
    error = await refusal(rig.open(access_key_file=wrong))
    assert error.reason.name == "STORE_REFUSED"


async def test_missing_key_files(rig: Rig) -> None:
    error = await refusal(rig.open(secret_key_file=rig.folder / "nothing"))
    assert error.reason.name == "CONFIG_INVALID"
    assert (await refusal(rig.open(secret_key_file=None))).reason.name == "CONFIG_INVALID"
    assert (await refusal(rig.open(ca_file="/nothing.pem"))).reason.name == "CONFIG_INVALID"


@pytest.mark.parametrize("hours", [-1, 1])
async def test_clocks_that_differ_say_by_how_much(rig: Rig, hours: int) -> None:
    clock = ManualWallClock(SystemWallClock().now_us() + hours * _HOUR_US)
    error = await refusal(rig.open(wall_clock=clock))
    assert error.reason.name == "STORE_CLOCK_SKEWED"
    said = re.search(r"\(([+-]\d+) s\)", error.message)
    assert said is not None
    assert abs(int(said[1]) - hours * 3600) < 60


async def test_a_clock_that_jumps_and_is_set_right_again(rig: Rig) -> None:
    clock = ManualWallClock(SystemWallClock().now_us())
    store = await rig.open(wall_clock=clock)
    await put(store)
    clock.advance(3600)
    for work in (store.stat(KEY), put(store, key="x"), store.delete(KEY)):
        assert await reason_of(work) == "STORE_CLOCK_SKEWED"
    clock.set(SystemWallClock().now_us())
    assert await content_of(store) == b"media"


async def test_a_bucket_with_default_retention_is_refused(rig: Rig) -> None:
    from minio.commonconfig import GOVERNANCE
    from minio.objectlockconfig import DAYS, ObjectLockConfig

    name = new_bucket(rig.server)
    try:
        rig.plain.set_object_lock_config(name, ObjectLockConfig(GOVERNANCE, 1, DAYS))
        error = await refusal(rig.open(bucket=name))
        assert error.reason.name == "STORE_UNSUITABLE"
        assert "default-retention" in error.message
    finally:
        rig.plain.delete_object_lock_config(name)
        remove_bucket(rig.server, name)


async def test_a_bucket_whose_rules_destroy_footage_is_refused(rig: Rig) -> None:
    from minio.commonconfig import ENABLED, Filter
    from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule

    name = new_bucket(rig.server)
    try:
        rule = Rule(
            ENABLED, rule_filter=Filter(prefix=""), rule_id="old", expiration=Expiration(days=7)
        )
        rig.plain.set_bucket_lifecycle(name, LifecycleConfig([rule]))
        error = await refusal(rig.open(bucket=name))
        assert error.reason.name == "STORE_UNSUITABLE"
        assert "lifecycle" in error.message
    finally:
        remove_bucket(rig.server, name)


async def test_two_installations_in_one_place_are_kept_apart(rig: Rig) -> None:
    store = await rig.open(installation="north", workspace="one")
    await put(store)
    error = await refusal(rig.open(installation="south", workspace="two"))
    assert error.reason.name == "STORE_OF_ANOTHER"
    assert "north" in error.message
    # A prefix of its own is a place of its own.
    other = await rig.open(installation="south", workspace="two", prefix=f"{rig.prefix}south/")
    assert [one.key async for one in other.list()] == []
    # The same machine without a name in its configuration remembers.
    await rig.open(workspace="one")
    assert await reason_of(rig.open(workspace="two", prefix=rig.prefix)) == ""


async def test_a_remembered_bucket_that_is_another_is_refused(rig: Rig) -> None:
    await rig.open(installation="north", workspace="one")
    rig.plain.remove_object(rig.bucket, f"{rig.prefix}.vigie/installation")
    error = await refusal(rig.open(workspace="one"))
    assert error.reason.name == "STORE_BUCKET_MISSING"
    assert "north" in error.message


async def test_what_is_not_there_is_not_believed_of_an_emptied_bucket(rig: Rig) -> None:
    """A disk that is not mounted must not look like footage that is gone."""
    store = await rig.open()
    await put(store)
    rig.plain.remove_object(rig.bucket, f"{rig.prefix}.vigie/installation")
    rig.plain.remove_object(rig.bucket, f"{rig.prefix}{KEY}")
    for work in (
        store.stat(KEY),
        content_of(store),
        store.delete("footage/other"),
        store.place_hold("footage/other", "hold-1"),
        anext(store.list("footage/")),
        anext(store.list_keys("footage/")),
        store.check(),
    ):
        assert await reason_of(work) == "STORE_BUCKET_MISSING"


async def test_a_store_without_conditional_writes(rig: Rig, between: Between) -> None:
    def unconditional(request: Request, forward: Forward) -> Answer:
        if request.method == "PUT" and request.headers.get("If-None-Match"):
            return Answer(501, [("Content-Type", "application/xml")],
                          b"<Error><Code>NotImplemented</Code></Error>")  # fmt: skip
        return forward(request)

    await rig.open()  # leaves the marker
    between.rule = unconditional
    error = await refusal(rig.open(endpoint=between.endpoint, **QUICK))
    assert error.reason.name == "STORE_UNSUITABLE"
    assert "conditional-writes" in error.message
    lax = {"accept_without": ["conditional-writes"], **QUICK}
    store = await rig.open(endpoint=between.endpoint, **lax)
    assert (await put(store)).created
    assert not (await put(store)).created
    assert await reason_of(put(store, b"other")) == "OBJECT_EXISTS"
    degraded = rig.registry.value("vigie_store_degraded_info", capability="conditional-writes")
    assert degraded == 1


async def test_credentials_change_without_a_restart(rig: Rig) -> None:
    store = await rig.open(**QUICK)
    await put(store)
    good = (rig.folder / "secret-key").read_text()
    (rig.folder / "secret-key").write_text("wrong-secret-key")
    assert await reason_of(store.stat(KEY)) == "STORE_REFUSED"
    (rig.folder / "secret-key").unlink()
    assert await reason_of(store.stat(KEY)) == "STORE_REFUSED"
    (rig.folder / "secret-key").write_text(good)
    assert await content_of(store) == b"media"


async def test_a_private_authority(rig: Rig, tmp_path: Path) -> None:
    from integration.s3.authority import Authority

    authority, other = Authority(tmp_path / "one"), Authority(tmp_path / "two")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("127.0.0.1"))
    secure = Between(rig.server.endpoint, context)
    try:
        store = await rig.open(endpoint=secure.endpoint, ca_file=authority.file)
        await put(store)
        assert await content_of(store) == b"media"
        error = await refusal(rig.open(endpoint=secure.endpoint, ca_file=other.file))
        assert error.reason.name == "STORE_UNAVAILABLE"
        assert "certificate" in error.message
    finally:
        secure.close()
