"""What can be done with authorisations: the rules, inside a transaction the caller opened."""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from vigie.platform.aip import check_etag, etag_of, mask_paths
from vigie.platform.clock import WallClock, to_us
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.statements import in_chunks
from vigie.platform.errors import VigieError
from vigie.platform.grpc.call import EVERYWHERE, ZoneSet
from vigie.registry import authorisationstore, authority, camerastore, convert, coverage, names
from vigie.registry.authorisationscope import check_admitted, scope_asked, zones_concerned
from vigie.registry.journal import CameraJournal
from vigie.registry.lifecycle import RETIRED
from vigie.registry.model import AuthorisationRecord, CameraRecord, Change, Scope
from vigie.registry.reasons import (
    AUTHORISATION_DATES_INVALID,
    AUTHORISATION_EXISTS,
    AUTHORISATION_NOT_FOUND,
    FIELD_REQUIRED,
)
from vigie.registry.tables import cameras
from vigie.registry.v1.authorisations_pb2 import (
    Authorisation,
    AuthorisationPurpose,
    CreateAuthorisationRequest,
    RevokeAuthorisationRequest,
    UpdateAuthorisationRequest,
)

CHANGEABLE: Final = (
    "number",
    "prefecture",
    "sign_time",
    "valid_from",
    "valid_until",
    "purposes",
    "cameras",
    "zones",
    "retention_days",
    "recipients",
)
_MAX_IDENTIFIER: Final = 63
# Far enough apart for every order, and near enough for calendars to be counted on.
_EARLIEST_US: Final = to_us(datetime(1900, 1, 1, tzinfo=UTC))
_LATEST_US: Final = to_us(datetime(2200, 1, 1, tzinfo=UTC))


class AuthorisationBook:
    """Authorisations and their rules; a change tells every camera it touches.

    Args:
        journal: writes the cameras anew.
        wall_clock: tells when a change happens.
        legal_zone: time zone in which the law counts years.

    Changes are given the zones the caller was admitted to (see `check_admitted`).
    """

    def __init__(self, journal: CameraJournal, wall_clock: WallClock, legal_zone: tzinfo) -> None:
        self._journal = journal
        self._wall_clock = wall_clock
        self._legal_zone = legal_zone

    async def create(
        self,
        connection: AsyncConnection,
        request: CreateAuthorisationRequest,
        actor: str,
        admitted: Collection[str] | None,
    ) -> Authorisation:
        """Enter an authorisation.

        Raises:
            VigieError: AUTHORISATION_EXISTS, FIELD_REQUIRED, AUTHORISATION_DATES_INVALID,
                AUTHORISATION_TOO_LONG, AUTHORISATION_SCOPE_INVALID, CAMERA_NOT_FOUND,
                ZONE_NOT_FOUND, ETAG_MISMATCH.
        """
        message, now_us = request.authorisation, self._wall_clock.now_us()
        for name in ("valid_from", "valid_until"):
            if not message.HasField(name):
                raise VigieError(
                    FIELD_REQUIRED, f"an authorisation has a {name}", field=f"authorisation.{name}"
                )
        identifier = identifier_for(request)
        record = AuthorisationRecord(
            identifier, "", "", 0, 0, (), version=1, created_us=now_us, updated_us=now_us
        )
        record = replace(record, **_values(message, CHANGEABLE))
        authority.check(record, now_us, self._legal_zone)
        check_admitted(await zones_concerned(connection, message, Scope()), admitted)
        if await authorisationstore.get(connection, identifier) is not None:
            raise VigieError(
                AUTHORISATION_EXISTS,
                f"there is an authorisation {identifier} already",
                field="authorisation_id",
            )
        await self._check_number(connection, record)
        scope = await scope_asked(connection, message, Scope(), CHANGEABLE)
        await authorisationstore.save(connection, record, scope)
        await self._tell(connection, [scope], "authorisation_changed", record, actor)
        return await self.read(connection, record)

    async def update(
        self,
        connection: AsyncConnection,
        before: AuthorisationRecord,
        request: UpdateAuthorisationRequest,
        actor: str,
        admitted: Collection[str] | None,
    ) -> Authorisation:
        """Correct or amend an authorisation that has not ended.

        Raises:
            VigieError: as `create`, and AUTHORISATION_EXPIRED, ETAG_MISMATCH, FIELD_MASK_INVALID.
        """
        message, now_us = request.authorisation, self._wall_clock.now_us()
        record, held = await self._load(connection, before.authorisation)
        check_admitted(await zones_concerned(connection, message, held), admitted)
        check_etag(message.etag, _etag(record), field="authorisation.etag")
        authority.check_alive(record, now_us)
        paths = mask_paths(request.update_mask, message, CHANGEABLE)
        after = replace(record, **_values(message, paths))
        authority.check_amendment(record, after, now_us, self._legal_zone)
        await self._check_number(connection, after)
        scope = await scope_asked(connection, message, held, paths)
        if after == record and scope == held:
            return await self.read(connection, record)
        after = replace(after, version=record.version + 1, updated_us=now_us)
        await authorisationstore.save(connection, after, scope)
        await self._tell(connection, [held, scope], "authorisation_changed", after, actor)
        return await self.read(connection, after)

    async def revoke(
        self,
        connection: AsyncConnection,
        before: AuthorisationRecord,
        request: RevokeAuthorisationRequest,
        actor: str,
        admitted: Collection[str],
    ) -> Authorisation:
        """End an authorisation for good, now.

        Raises:
            VigieError: AUTHORISATION_NOT_FOUND, AUTHORISATION_EXPIRED, ETAG_MISMATCH.
        """
        now_us = self._wall_clock.now_us()
        record, held = await self._load(connection, before.authorisation)
        check_admitted(held.concerned, admitted)
        check_etag(request.etag, _etag(record))
        authority.check_alive(record, now_us)
        after = replace(
            record,
            revoked_us=now_us,
            revoke_reason=request.reason,
            version=record.version + 1,
            updated_us=now_us,
        )
        await authorisationstore.save(connection, after, held)
        await self._tell(connection, [held], "authorisation_revoked", after, actor)
        return await self.read(connection, after)

    async def read(
        self,
        connection: AsyncConnection,
        record: AuthorisationRecord,
        seen: ZoneSet = EVERYWHERE,
    ) -> Authorisation:
        """An authorisation as callers see it.

        Args:
            connection: a reading.
            record: which one.
            seen: zones whose cameras are named; others are counted. Who changed it holds the
                permission in every zone it concerns: he sees them all.
        """
        name = record.authorisation
        scope = (await authorisationstore.scopes(connection, [name]))[name]
        now_us = self._wall_clock.now_us()
        covered = await coverage.cameras_in_scope(connection, name)
        asked = [*scope.cameras, *([] if seen.everywhere else covered)]
        found = await camerastore.get_many(connection, asked)
        lapsed = {c for c in scope.cameras if c in found and not scope.covers(c, found[c].zone)}
        away = {camera for camera, item in found.items() if item.zone not in seen}
        # A named camera stood in the zone of its naming: who may know that zone knows of it.
        unknown = {camera for camera in away if scope.cameras.get(camera) not in seen}
        return Authorisation(
            name=names.authorisation_name(name),
            number=record.number,
            prefecture=record.prefecture,
            sign_time=convert.timestamp(record.signed_us),
            valid_from=convert.timestamp(record.valid_from_us),
            valid_until=convert.timestamp(record.valid_until_us),
            purposes=[AuthorisationPurpose.ValueType(number) for number in record.purposes],
            cameras=_named(scope.cameras, unknown),
            zones=[names.zone_name(zone) for zone in sorted(scope.zones)],
            retention_days=record.retention_days,
            recipients=record.recipients,
            state=authority.state_of(record, now_us),
            renewal_due_time=convert.timestamp(authority.renewal_due_us(record)),
            revoke_time=convert.timestamp(record.revoked_us),
            revoke_reason=record.revoke_reason,
            covered_cameras=_named(covered, away),
            lapsed_cameras=_named(lapsed, unknown),
            hidden_camera_count=len(unknown | away.intersection(covered)),
            create_time=convert.timestamp(record.created_us),
            update_time=convert.timestamp(record.updated_us),
            etag=_etag(record),
        )

    async def _load(
        self, connection: AsyncConnection, name: str
    ) -> tuple[AuthorisationRecord, Scope]:
        record = await authorisationstore.get(connection, name)
        if record is None:
            raise not_found(name)
        return record, (await authorisationstore.scopes(connection, [name]))[name]

    async def _check_number(self, connection: AsyncConnection, record: AuthorisationRecord) -> None:
        other = await authorisationstore.with_number(connection, record.prefecture, record.number)
        if other is not None and other.authorisation != record.authorisation:
            raise VigieError(
                AUTHORISATION_EXISTS,
                f"number {record.number} of {record.prefecture} is registered already",
                field="authorisation.number",
            )

    async def _tell(
        self,
        connection: AsyncConnection,
        scopes: list[Scope],
        action: str,
        record: AuthorisationRecord,
        actor: str,
    ) -> None:
        """Write every camera that one of ``scopes`` covers anew."""
        named = {camera for scope in scopes for camera in scope.cameras}
        found = await camerastore.get_many(connection, sorted(named))
        perimeter = sorted({zone for scope in scopes for zone in scope.zones})
        for chunk in in_chunks(perimeter):
            for item in await camerastore.find(connection, cameras.c.zone.in_(chunk)):
                found[item.camera] = item
        affected: list[CameraRecord] = [
            item
            for _, item in sorted(found.items())
            if item.lifecycle != RETIRED
            and any(scope.covers(item.camera, item.zone) for scope in scopes)
        ]
        change = Change(action, actor, self._wall_clock.now_us(), record.authorisation)
        await self._journal.write_all(connection, affected, change)


def identifier_for(request: CreateAuthorisationRequest) -> str:
    """The identifier asked for, or one made from the number: ``2024/0815 A`` → ``2024-0815-a``."""
    if request.authorisation_id:
        return request.authorisation_id
    plain = unicodedata.normalize("NFKD", request.authorisation.number)
    words = re.findall(r"[a-z0-9]+", plain.encode("ascii", "ignore").decode().lower())
    made = "-".join(words)[:_MAX_IDENTIFIER].strip("-")
    return made if len(made) > 1 else f"authorisation-{made}".rstrip("-")


def not_found(name: str) -> VigieError:
    """The error for an authorisation that is not there."""
    return VigieError(AUTHORISATION_NOT_FOUND, f"there is no authorisation {name}", field="name")


def _named(listed: Collection[str], hidden: Collection[str]) -> list[str]:
    return [names.camera_name(camera) for camera in sorted(listed) if camera not in hidden]


def _etag(record: AuthorisationRecord) -> str:
    return etag_of(record.authorisation, record.version)


def _values(message: Authorisation, paths: Any) -> dict[str, Any]:
    """The values of a message in the fields ``paths``, as those of a record."""
    values: dict[str, Any] = {
        name: getattr(message, name)
        for name in ("number", "prefecture", "retention_days")
        if name in paths
    }
    if "purposes" in paths:
        values["purposes"] = tuple(sorted(message.purposes))
    if "recipients" in paths:
        values["recipients"] = tuple(message.recipients)
    if "sign_time" in paths:
        signed = message.HasField("sign_time")
        values["signed_us"] = _date_us(message, "sign_time") if signed else None
    # A date that is not given does not change: an authorisation always has both.
    for name in ("valid_from", "valid_until"):
        if name in paths and message.HasField(name):
            values[f"{name}_us"] = _date_us(message, name)
    return values


def _date_us(message: Authorisation, name: str) -> int:
    instant_us = convert.instant_us(getattr(message, name))
    if not _EARLIEST_US <= instant_us < _LATEST_US:
        raise VigieError(
            AUTHORISATION_DATES_INVALID,
            f"{name} must lie in the years 1900 to 2199",
            field=f"authorisation.{name}",
        )
    return instant_us
