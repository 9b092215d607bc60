"""Making a bucket as footage needs it (`vigie store init`), and looking at one (`… check`)."""

from dataclasses import dataclass
from typing import Any, Final

import structlog
from minio.commonconfig import ENABLED, Filter
from minio.lifecycleconfig import (
    AbortIncompleteMultipartUpload,
    Expiration,
    LifecycleConfig,
    Rule,
)
from minio.sseconfig import Rule as EncryptionRule
from minio.sseconfig import SSEConfig
from minio.versioningconfig import VersioningConfig

from vigie.platform.clock import WallClock
from vigie.platform.objectstore.s3 import naming
from vigie.platform.objectstore.s3.failures import StoreFailure
from vigie.platform.objectstore.s3.installation import identify
from vigie.platform.objectstore.s3.probe import Finding, Prober, State, gives_up_uploads, rules_of
from vigie.platform.objectstore.s3.requests import Requests
from vigie.platform.reasons import STORE_BUCKET_MISSING

log = structlog.get_logger(__name__)
_NOT_OFFERED: Final = frozenset({400, 404, 405, 501})
_UPLOAD_DAYS: Final = 7
_RULE: Final = "vigie-unfinished-uploads"


@dataclass(frozen=True, slots=True)
class BucketReport:
    """What a bucket is like.

    Attributes:
        place: address and name.
        installation: whose it is.
        findings: in the order in which they were tried.
        created: `init` has made the bucket.
    """

    place: str
    installation: str
    findings: tuple[Finding, ...]
    created: bool = False

    @property
    def suitable(self) -> bool:
        """Nothing is missing that is needed."""
        return all(finding.state is not State.MISSING for finding in self.findings)


async def look(requests: Requests, wall_clock: WallClock) -> BucketReport:
    """Try everything; the marker of the installation is made when there was never one.

    Raises:
        VigieError: as `S3ObjectStore.open`, but for STORE_UNSUITABLE.
    """
    prober = Prober(requests, wall_clock)
    await prober.reach()
    config = requests.config
    installation = await identify(requests, config.installation, None, wall_clock)
    abilities = await prober.abilities()
    return BucketReport(requests.place, installation.name, abilities.findings)


async def prepare(requests: Requests, wall_clock: WallClock) -> BucketReport:
    """Make the bucket if it is not there, give it what it needs, and look at it.

    What is set already stays as it is; a rule is added, none is replaced.

    Raises:
        VigieError: as `look`.
    """
    created = False
    try:
        await Prober(requests, wall_clock).reach()
    except StoreFailure as failure:
        if failure.reason is not STORE_BUCKET_MISSING:
            raise
        await _make(requests)
        created = True
    await _enable_versions(requests)
    await _remove_unfinished(requests)
    await _encrypt(requests)
    report = await look(requests, wall_clock)
    return BucketReport(report.place, report.installation, report.findings, created)


async def _make(requests: Requests) -> None:
    config, client = requests.config, requests.client

    def make() -> None:
        client.make_bucket(config.bucket, config.region, object_lock=True)

    try:
        await requests.run("make bucket", lambda _: make())
    except StoreFailure as failure:
        # Made by somebody else meanwhile, or by an attempt that got no answer.
        if failure.code != "BucketAlreadyOwnedByYou":
            raise


async def _enable_versions(requests: Requests) -> None:
    bucket, client = requests.config.bucket, requests.client

    def enable() -> None:
        if str(client.get_bucket_versioning(bucket).status) != ENABLED:
            client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))

    await _if_offered(requests, "set versioning", enable)


async def _remove_unfinished(requests: Requests) -> None:
    """Have the store remove what killed uploads leave.

    MinIO refuses a rule that does nothing else, takes one that removes expired delete markers
    besides, and forgets the part about uploads: it removes those after a day by itself.
    """
    bucket, client = requests.config.bucket, requests.client
    plain = _rule(None)
    with_markers = _rule(Expiration(expired_object_delete_marker=True))

    def add(rule: Rule) -> None:
        known = rules_of(client.get_bucket_lifecycle(bucket))
        if not any(gives_up_uploads(one) or one.rule_id == _RULE for one in known):
            client.set_bucket_lifecycle(bucket, LifecycleConfig([*known, rule]))

    if not await _if_offered(requests, "set lifecycle", lambda: add(plain)):
        await _if_offered(requests, "set lifecycle", lambda: add(with_markers))


async def _encrypt(requests: Requests) -> None:
    """Have the store encrypt what it keeps, and see that it still can be written.

    A store may take the setting without having keys (SeaweedFS without a key service): every write
    would fail from then on. There it is taken back.
    """
    bucket, client = requests.config.bucket, requests.client

    def encrypt() -> bool:
        if client.get_bucket_encryption(bucket) is not None:
            return False
        client.set_bucket_encryption(bucket, SSEConfig(EncryptionRule.new_sse_s3_rule()))
        return True

    try:
        if not await requests.run("set encryption", lambda _: encrypt()):
            return
    except StoreFailure as failure:
        if failure.status not in _NOT_OFFERED:
            raise
        return
    name = requests.bucket.object_name(naming.PROBE_ENCRYPTION)
    try:
        await requests.run("put", lambda _: client.put(bucket, name, b"{}", {}), attempts=1)
    except StoreFailure as failure:
        log.warning("s3_encryption_taken_back", error=failure.message)
        await requests.run("set encryption", lambda _: client.delete_bucket_encryption(bucket))


async def _if_offered(requests: Requests, what: str, work: Any) -> bool:
    """Whether it was done; a store that cannot do it is told of by what is found afterwards.

    Raises:
        StoreFailure: any other failure than that the store does not know how.
    """
    try:
        await requests.run(what, lambda _: work())
    except StoreFailure as failure:
        if failure.status not in _NOT_OFFERED:
            raise
        return False
    return True


def _rule(expiration: Expiration | None) -> Rule:
    return Rule(
        ENABLED,
        rule_filter=Filter(prefix=""),
        rule_id=_RULE,
        abort_incomplete_multipart_upload=AbortIncompleteMultipartUpload(_UPLOAD_DAYS),
        expiration=expiration,
    )
