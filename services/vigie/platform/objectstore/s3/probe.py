"""What a store and its bucket can do, tried instead of assumed.

Every service tries it at its start with what its credentials allow: what it may not ask is told as
unknown, and was tried by `vigie store init`. Nothing that is tried leaves more than three small
objects below ``.vigie/``, made once.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Final

from minio.commonconfig import ENABLED
from minio.lifecycleconfig import LifecycleConfig, Rule

from vigie.platform.clock import WallClock, to_us
from vigie.platform.errors import VigieError
from vigie.platform.objectstore.s3 import attributes, naming
from vigie.platform.objectstore.s3.client import base64_of
from vigie.platform.objectstore.s3.failures import ALTERED, REFUSED, StoreFailure
from vigie.platform.objectstore.s3.holds import put_small
from vigie.platform.objectstore.s3.pages import Entry, fetch_page
from vigie.platform.objectstore.s3.requests import Requests
from vigie.platform.reasons import STORE_CLOCK_SKEWED, STORE_UNSUITABLE

_SKEW_US: Final = 60_000_000
_REFUSED_SKEW_US: Final = 900_000_000


class State(StrEnum):
    """What is known of a capability."""

    OK = "ok"
    MISSING = "missing"
    """Not there, and needed: the program does not start."""
    DEGRADED = "degraded"
    """Not there, and accepted, or of lesser weight."""
    UNKNOWN = "unknown"
    """These credentials may not ask."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One capability.

    Attributes:
        name: stable, as in ``s3.accept_without`` and the metric's label.
        state: what was found.
        detail: what that means here, one line in English.
    """

    name: str
    state: State
    detail: str


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the store port has to know.

    Attributes:
        findings: everything, in the order in which it was tried.
        locking: the bucket has Object Lock.
        conditional: writes may be conditional.
        checksums: the store verifies the digest that it is given.
        in_order: listings are in byte order.
        attributes_listed: listings show attributes.
    """

    findings: tuple[Finding, ...]
    locking: bool
    conditional: bool
    checksums: bool
    in_order: bool
    attributes_listed: bool


class Prober:
    """Tries a store.

    Args:
        requests: to the store.
        wall_clock: this machine's, compared with the store's.
    """

    def __init__(self, requests: Requests, wall_clock: WallClock) -> None:
        self._requests = requests
        self._accepted = frozenset(requests.config.accept_without)
        self._wall_clock = wall_clock
        self._found: list[Finding] = []

    async def reach(self) -> None:
        """Ask anything at all: address, credentials, clocks, and whether the bucket is there.

        Raises:
            StoreFailure: one clear reason; for clocks that differ, by how much.
        """
        client, bucket = self._requests.client, self._requests.bucket

        def ask() -> Any:
            return client.get(bucket.name, bucket.object_name(naming.INSTALLATION), {})

        def asked() -> str:
            response = ask()
            try:
                return str(response.headers.get("date", ""))
            finally:
                response.close()
                response.release_conn()

        try:
            date = await self._requests.run("get", lambda _: asked())
        except StoreFailure as failure:
            if failure.reason is STORE_CLOCK_SKEWED:
                raise self._skewed(failure) from failure
            if not failure.is_missing:
                raise
            date = failure.response_date
        self._note_clock(date)

    async def abilities(self) -> Abilities:
        """Try everything.

        Raises:
            StoreFailure: the store does not answer.
        """
        await self._versioning()
        locking = await self._object_lock()
        conditional = await self._conditional_writes()
        checksums = await self._checksums()
        in_order, listed = await self._order()
        await self._lifecycle()
        await self._encryption()
        return Abilities(tuple(self._found), locking, conditional, checksums, in_order, listed)

    def _skewed(self, failure: StoreFailure) -> StoreFailure:
        skew_us = self._skew_us(failure.response_date)
        way = "" if skew_us is None else f" ({skew_us / 1e6:+.0f} s)"
        return StoreFailure(
            STORE_CLOCK_SKEWED,
            f"this machine's clock differs too much from that of {self._requests.place}{way}",
            code=failure.code,
            status=failure.status,
            passing=False,
        )

    def _skew_us(self, date: str) -> int | None:
        try:
            return self._wall_clock.now_us() - to_us(parsedate_to_datetime(date))
        except (ValueError, TypeError):
            return None

    def _note_clock(self, date: str) -> None:
        skew_us = self._skew_us(date)
        if skew_us is None:
            self._note("clock", State.UNKNOWN, "the store does not tell its time")
            return
        detail = f"this machine's clock and the store's differ by {skew_us / 1e6:+.0f} s"
        far = abs(skew_us) > _SKEW_US
        if far:
            detail += f"; from {_REFUSED_SKEW_US // 1_000_000} s on it refuses everything"
        self._note("clock", State.DEGRADED if far else State.OK, detail)

    async def _versioning(self) -> None:
        bucket = self._requests.bucket.name
        found = await self._ask(
            "versioning", lambda: self._requests.client.get_bucket_versioning(bucket)
        )
        if found is None:
            return
        if str(found.status) == "Enabled":
            self._note("versioning", State.OK, "what is overwritten or deleted by mistake stays")
        else:
            self._lacking("versioning", f"it is {found.status}", accepted_as="object-lock")

    async def _object_lock(self) -> bool:
        bucket = self._requests.bucket.name
        try:
            found = await self._ask(
                "object-lock", lambda: self._requests.client.get_object_lock_config(bucket)
            )
        except StoreFailure as failure:
            if failure.status not in {400, 404, 501}:
                raise
            self._lacking("object-lock", "holds would be kept by this program alone")
            return False
        if found is None:
            return True
        if found.mode is not None:
            detail = (
                f"new objects are locked for {found.duration} {found.duration_unit} ({found.mode}):"
                " retention could not destroy them in time"
            )
            self._note("default-retention", State.MISSING, detail)
        else:
            self._note("default-retention", State.OK, "none, as it has to be")
        self._note("object-lock", State.OK, "holds are kept by the store itself")
        return True

    async def _conditional_writes(self) -> bool:
        async def twice() -> bool:
            await put_small(self._requests, naming.PROBE_CONDITION, b"{}")
            return not await put_small(self._requests, naming.PROBE_CONDITION, b"{}")

        try:
            refused = await twice()
        except StoreFailure as failure:
            if failure.code in REFUSED:
                self._note("conditional-writes", State.UNKNOWN, "may not be tried; taken as there")
                return True
            raise
        if refused:
            self._note("conditional-writes", State.OK, "of two writers of one key one wins")
        else:
            self._lacking("conditional-writes", "two writers of one key would not notice")
        return refused

    async def _checksums(self) -> bool:
        """Give another digest than that of the content, and see whether it is taken."""
        bucket = self._requests.bucket
        name = bucket.object_name(naming.PROBE_CHECKSUM)
        other = base64_of(hashlib.sha256(b"other").hexdigest())
        headers = {attributes.CHECKSUM: other, "Content-Type": "application/json"}
        try:
            await self._requests.run(
                "put", lambda _: self._requests.client.put(bucket.name, name, b"{}", headers)
            )
        except StoreFailure as failure:
            if failure.code in ALTERED:
                self._note("checksums", State.OK, "SHA-256 is verified by the store")
            elif failure.code in REFUSED:
                self._note("checksums", State.UNKNOWN, "may not be tried; each answer is looked at")
            else:
                raise
            return True
        if self._requests.config.write_only:
            detail = "these credentials may not read back what nobody has verified"
            self._note("checksums", State.MISSING, detail)
        else:
            self._lacking("checksums", "everything is read back once after it was stored")
        return False

    async def _order(self) -> tuple[bool, bool]:
        """In which order two names come, and whether their attributes come with them."""
        client, bucket = self._requests.client, self._requests.bucket

        def listed() -> list[Entry]:
            return fetch_page(
                client,
                bucket.name,
                bucket.object_name(naming.ORDER),
                attributes=True,
                limit=1,
            ).entries

        try:
            for key in (naming.ORDER_FIRST, naming.ORDER_SECOND):
                await put_small(self._requests, key, b"{}")
        except StoreFailure as failure:
            if failure.code not in REFUSED:
                raise
        found = await self._ask("listing-order", listed)
        if found is None:
            return False, False
        keys = [bucket.key(one.name) for one in found]
        if keys != [naming.ORDER_FIRST]:
            self._note(
                "listing-order", State.DEGRADED, "listings are put into order here, by folders"
            )
            return False, False
        self._note("listing-order", State.OK, "listings come in byte order")
        shown = attributes.info_of_listed("", 0, 0, found[0].attributes) is not None
        detail = "listings show them" if shown else "each object is asked for them"
        self._note("listing-attributes", State.OK, detail)
        return True, shown

    async def _lifecycle(self) -> None:
        """Rules of the bucket: one for unfinished uploads, none that destroys footage."""
        client, bucket = self._requests.client, self._requests.bucket.name
        found = await self._ask("lifecycle", lambda: rules_of(client.get_bucket_lifecycle(bucket)))
        if found is None:
            return
        destroying = [rule.rule_id or "without a name" for rule in found if destroys(rule)]
        if destroying:
            detail = f"rules of the bucket destroy footage without a record: {destroying}"
            self._note("lifecycle", State.MISSING, detail)
        elif any(gives_up_uploads(rule) for rule in found):
            self._note("lifecycle", State.OK, "unfinished uploads are removed by the store")
        else:
            detail = "no rule for unfinished uploads; Vigie removes them after a week"
            self._note("lifecycle", State.DEGRADED, detail)

    async def _encryption(self) -> None:
        client, bucket = self._requests.client, self._requests.bucket.name
        found = await self._ask("encryption", lambda: (client.get_bucket_encryption(bucket),))
        if found is None:
            return
        (configured,) = found
        if configured is None:
            self._note("encryption", State.DEGRADED, "the store does not encrypt what it keeps")
        else:
            self._note("encryption", State.OK, configured.rule.sse_algorithm)

    async def _ask(self, name: str, work: Callable[[], Any]) -> Any:
        """The answer, or ``None`` when these credentials may not ask (noted)."""
        try:
            return await self._requests.run("probe", lambda _: work())
        except StoreFailure as failure:
            if failure.code != "AccessDenied":
                raise
            self._note(name, State.UNKNOWN, "these credentials may not ask")
            return None

    def _lacking(self, name: str, detail: str, *, accepted_as: str = "") -> None:
        accepted = (accepted_as or name) in self._accepted
        self._note(name, State.DEGRADED if accepted else State.MISSING, detail)

    def _note(self, name: str, state: State, detail: str) -> None:
        self._found.append(Finding(name, state, detail))


def rules_of(configured: LifecycleConfig | None) -> list[Rule]:
    """The rules that are in force."""
    return [] if configured is None else [r for r in configured.rules if r.status == ENABLED]


def gives_up_uploads(rule: Rule) -> bool:
    """Whether a rule removes unfinished uploads."""
    return rule.abort_incomplete_multipart_upload is not None


def destroys(rule: Rule) -> bool:
    """Whether a rule removes objects: what is destroyed would stand in no register."""
    expiration = rule.expiration
    return expiration is not None and (expiration.days or expiration.date) is not None


def require(findings: tuple[Finding, ...], place: str) -> None:
    """Refuse a store that lacks what is needed.

    Raises:
        VigieError: STORE_UNSUITABLE, naming everything.
    """
    lacking = [f"{one.name} ({one.detail})" for one in findings if one.state is State.MISSING]
    if lacking:
        raise VigieError(STORE_UNSUITABLE, f"{place} lacks: " + "; ".join(lacking))
