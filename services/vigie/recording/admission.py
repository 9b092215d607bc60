"""Admits calls that name cameras: which zones they touch, and what is not known."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from vigie.platform.database import Database
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.errors import VigieError
from vigie.platform.grpc.call import Call
from vigie.recording import reasons
from vigie.recording.index import reader
from vigie.recording.index.stands import Stand, zone_histories
from vigie.recording.timeline.intervals import Interval


@dataclass(frozen=True, slots=True)
class Access:
    """What is asked for: cameras, a window, and why."""

    cameras: Sequence[str]
    window: Interval
    purpose: str = ""
    case_reference: str = ""


class Admission:
    """Asks the host to admit a call for footage or facts of cameras.

    The zones are those the cameras stood in during the window: a camera that has been moved takes
    its old footage out of nobody's responsibility.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def admit(self, call: Call, access: Access) -> None:
        """Admit a call before its first answer.

        Raises:
            VigieError: PERMISSION_DENIED, ACCESS_NOT_RECORDED; CAMERA_NOT_FOUND for a caller who
                holds the permission everywhere.
        """
        zones, unknown = await self._database.read(partial(_looked_up, access))
        await call.admit(
            objects=[f"cameras/{camera}" for camera in access.cameras],
            # A camera without any zone is seen only by whoever may see all.
            zones=None if unknown or "" in zones else sorted(zones),
            window_us=(access.window.start_us, access.window.end_us),
            purpose=access.purpose,
            case_reference=access.case_reference,
        )
        if unknown:
            raise VigieError(
                reasons.CAMERA_NOT_FOUND,
                f"unknown: {', '.join(unknown[:5])}",
                field="camera",
                camera=unknown[0],
            )


class Whereabouts:
    """The zones in which all cameras stood, at any time; for what names no camera.

    Args:
        histories: see `zone_histories`.
    """

    def __init__(self, histories: Mapping[str, Sequence[Stand]]) -> None:
        self._histories = histories

    @classmethod
    async def read(cls, connection: AsyncConnection) -> "Whereabouts":
        """As the index knows them now."""
        return cls(await zone_histories(connection))

    @property
    def cameras(self) -> Iterable[str]:
        """All that the registry has told of."""
        return self._histories

    def during(self, camera: str, window: Interval) -> set[str]:
        """As `zones_of` says."""
        stands = self._histories.get(camera, ())
        zones: set[str] = set()
        for stand in reversed(stands):
            if stand.effective_us < window.end_us:
                zones.add(stand.zone)
            if stand.effective_us <= window.start_us:
                break
        return zones or {stand.zone for stand in stands[:1]} or {""}

    def ever_in(self, zones: Container[str]) -> list[str]:
        """Cameras that stood in one of these zones at any time."""
        return sorted(
            camera
            for camera, stands in self._histories.items()
            if any(stand.zone in zones for stand in stands)
        )


async def _looked_up(access: Access, connection: AsyncConnection) -> tuple[set[str], list[str]]:
    """Zones of the cameras during the window, and cameras nobody knows."""
    zones: set[str] = set()
    unknown: list[str] = []
    for camera in access.cameras:
        stood_in = await zones_of(connection, camera, access.window)
        if "" in stood_in and not await reader.camera_known(connection, camera):
            unknown.append(camera)
        zones |= stood_in
    return zones, unknown


async def zones_of(connection: AsyncConnection, camera: str, window: Interval) -> set[str]:
    """Zones a camera stood in during a window; ``""`` when nothing is known of it.

    Before its first known state a camera counts to the zone of that state.
    """
    return set(await stays_of(connection, camera, window)) or {""}


async def stays_of(connection: AsyncConnection, camera: str, window: Interval) -> list[str]:
    """The same in order of time; a zone it came back to stands there again."""
    states = await reader.camera_states(connection, camera, window)
    if not states:
        states = await reader.first_state(connection, camera)
    return [zone for zone, _ in groupby(state.zone for state in states)]
