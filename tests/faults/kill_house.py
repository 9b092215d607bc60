"""One installation that is killed again and again, and what must hold each time."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from e2e import estate, proof
from e2e.callers import GAP, SPAN, play, segments, stored_until, timelines, window
from e2e.harness import WALL, Installation, until
from vigie.evidence.v1 import evidence_service_pb2 as evidence_pb
from vigie.evidence.v1.evidence_service_pb2_grpc import EvidenceServiceStub
from vigie.recording.v1 import retention_pb2
from vigie.recording.v1.retention_pb2_grpc import HoldServiceStub
from vigie.registry.v1 import cameras_pb2, cameras_pb2_grpc
from vigie.simcam import CameraConfig, Fault, FootageSpec
from vigie.simcam.client import SimCamProcess

_H264: Final = FootageSpec(width=192, height=96, frame_count=50, bitrate_bps=120_000)
_H265: Final = FootageSpec(codec="h265", width=192, height=96, frame_count=50, bitrate_bps=120_000)
KEPT: Final = ("cam-kept", "cam-kept-265")
BRIEF: Final = "cam-brief"
"""Its footage is destroyed by every round of retention: one at each start."""
CAMERAS: Final = (
    CameraConfig(id=KEPT[0], footage=_H264),
    CameraConfig(id=KEPT[1], footage=_H265),
    CameraConfig(id=BRIEF, footage=_H264),
)
KEY_INTERVAL_US: Final = 1_000_000
ON_ITS_WAY_US: Final = 5_000_000
"""Between the camera and the disk, on a machine that has too much to do. What the measure is
worth shows in the figures that are noted; that nothing on the disk is lost, in the frames."""
_PATIENCE_SECONDS: Final = 240
"""For what takes seconds on a machine that has nothing else to do."""
_FIRST_US: Final = 6_000_000


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill and what it cost.

    Attributes:
        where: the fault point, or when.
        lost_us: footage of before the kill that is missing, of the camera that lost most.
        back_us: from the kill until that camera's footage goes on.
    """

    where: str
    lost_us: int
    back_us: int


@dataclass(slots=True)
class House:
    """The installation, its cameras, and everything it has ever listed."""

    vigie: Installation
    simulator: SimCamProcess
    fault_file: Path
    begun_us: int = 0
    calm_us: int = 0
    settled_us: int = 0
    listed: dict[str, dict[str, str]] = field(default_factory=dict)
    kills: list[Kill] = field(default_factory=list)
    requests: list[evidence_pb.EvidenceRequest] = field(default_factory=list)

    # --- life ---

    async def move_in(self) -> None:
        """Enter the estate and wait for the first footage of all cameras."""
        vigie, asked_us = self.vigie, WALL.now_us()
        await estate.places(vigie)
        stub = vigie.stub(cameras_pb2_grpc.CameraServiceStub, "registry", person="administration")
        await estate.authorise(vigie, "arrete-general", ["zone-nord"])
        await estate.authorise(vigie, "arrete-bref", ["zone-sud"], retention_days=1)
        for camera in CAMERAS:
            zone = "zone-sud" if camera.id == BRIEF else "zone-nord"
            entry = cameras_pb2.Camera(
                zone=f"zones/{zone}", display_name=camera.id,
                stream_uri=self.simulator.urls[camera.id],
            )  # fmt: skip
            await stub.CreateCamera(
                cameras_pb2.CreateCameraRequest(camera_id=camera.id, camera=entry)
            )
            await stub.CommissionCamera(
                cameras_pb2.CommissionCameraRequest(name=f"cameras/{camera.id}", reason="essai")
            )
        everyone = (*KEPT, BRIEF)
        ends = await stored_until(
            vigie, everyone, asked_us, asked_us + _FIRST_US, seconds=_PATIENCE_SECONDS
        )
        found = await timelines(vigie, KEPT, asked_us)
        starts = (next(e.start_us for e in entries if e.kind == SPAN) for entries in found.values())
        self.begun_us = self.calm_us = max(starts)
        self.settled_us = min(ends[camera] for camera in KEPT)

    def arm(self, fault: str) -> None:
        """Let a fault strike from now on."""
        temporary = self.fault_file.with_suffix(".new")
        temporary.write_text(fault, "ascii")
        temporary.replace(self.fault_file)

    async def kill_at(self, point: str, visit: int) -> None:
        """Let the product die at a fault point, bring it there, start it again, look."""
        await self._remember()
        fault = f"{point}:kill@{visit}"
        if point.startswith(("retention.", "store.delete.")):
            # Steps of retention, of which there is a round at each start.
            await stored_until(
                self.vigie, [BRIEF], self.settled_us, WALL.now_us(), seconds=_PATIENCE_SECONDS
            )
            killed_us = WALL.now_us()
            await self.vigie.kill()
            self.arm(fault)
            with contextlib.suppress(AssertionError):
                await self.vigie.start()
            await self._dead(fault)
        else:
            self.arm(fault)
            cause = asyncio.create_task(self._cause(point))
            await self._dead(fault)
            killed_us = WALL.now_us()
            cause.cancel()
            await asyncio.gather(cause, return_exceptions=True)
        self.fault_file.unlink()
        dropped = point.startswith(("ingest.run.", "ingest.end."))
        await self._again(point, killed_us, {"CLOSED_BY_CAMERA"} if dropped else set())

    async def kill_after(self, seconds: float) -> None:
        """The same at a moment that nothing in the product knows of."""
        await self._remember()
        await asyncio.sleep(seconds)
        killed_us = WALL.now_us()
        await self.vigie.kill()
        await self._again("at a random moment", killed_us, set())

    async def _dead(self, fault: str) -> None:
        try:
            await asyncio.wait_for(self.vigie.ended(), _PATIENCE_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{fault} was not reached") from None

    async def _cause(self, point: str) -> None:
        """Make happen what leads to a point that ordinary recording does not pass."""
        if point.startswith(("ingest.run.", "ingest.end.")):
            while True:  # a visit each time
                await self.simulator.control.inject(KEPT[0], Fault.DROP_CONNECTION)
                await asyncio.sleep(4)
        if point.startswith(("holds.", "evidence.")):
            request = await self._ask()
            await self._decide(request, refuse=point == "holds.taking_off")

    # --- evidence ---

    def _evidence(self, person: str) -> EvidenceServiceStub:
        return self.vigie.stub(EvidenceServiceStub, "evidence", person=person)

    async def _ask(self) -> evidence_pb.EvidenceRequest:
        request = await self._evidence("enqueteur").CreateEvidenceRequest(
            evidence_pb.CreateEvidenceRequestRequest(
                cameras=[f"cameras/{KEPT[0]}"],
                window=window(self.calm_us, self.settled_us),
                purpose="Vol de fret en réunion",
                case_reference="PV 2026/00421",
                legal_basis="Article 77-1-1 du code de procédure pénale",
            )
        )
        self.requests.append(request)
        return request

    async def _decide(self, request: evidence_pb.EvidenceRequest, *, refuse: bool) -> None:
        stub = self._evidence("responsable")
        if refuse:
            await stub.RefuseEvidenceRequest(
                evidence_pb.RefuseEvidenceRequestRequest(name=request.name, reason="hors saisine")
            )
        else:
            await stub.ApproveEvidenceRequest(
                evidence_pb.ApproveEvidenceRequestRequest(
                    name=request.name, reason="vérifiée", etag=request.etag
                )
            )

    async def _requests_are_done(self) -> bool:
        """Every request that was approved has its package, every hold is where it must be."""
        holds = self.vigie.stub(HoldServiceStub, "recording", person="responsable")
        for request in self.requests:
            found = await self._evidence("enqueteur").GetEvidenceRequest(
                evidence_pb.GetEvidenceRequestRequest(name=request.name)
            )
            assert found.state != evidence_pb.EVIDENCE_STATE_FAILED, found
            if found.state in {
                evidence_pb.EVIDENCE_STATE_APPROVED,
                evidence_pb.EVIDENCE_STATE_BUILDING,
                evidence_pb.EVIDENCE_STATE_VERIFYING,
            }:
                return False
            if found.state == evidence_pb.EVIDENCE_STATE_READY:
                assert [step.action for step in found.custody].count("VERIFIED") == 1
            hold = await holds.GetHold(retention_pb2.GetHoldRequest(name=request.hold))
            wanted = retention_pb2.HOLD_APPLICATION_APPLIED
            if found.state == evidence_pb.EVIDENCE_STATE_REFUSED:
                wanted = retention_pb2.HOLD_APPLICATION_RELEASED
            if hold.state != wanted:
                return False
        return True

    # --- looking ---

    async def _remember(self) -> None:
        """What is listed now must be listed for ever (of cameras whose footage is kept)."""
        for camera in KEPT:
            found = await segments(self.vigie, camera, self.begun_us, WALL.now_us())
            assert len({each.object_key for each in found}) == len(found)
            self.listed[camera] = {each.object_key: each.sha256 for each in found}

    async def _again(self, where: str, killed_us: int, causes: set[str]) -> None:
        """Start, wait until all is settled, and look at what the kill has cost."""
        before_us = self.calm_us
        left = self.vigie.spooled()
        await self.vigie.start()
        again_us = WALL.now_us()
        ends = await stored_until(
            self.vigie, KEPT, before_us, again_us + KEY_INTERVAL_US, seconds=_PATIENCE_SECONDS
        )

        async def replayed() -> bool:
            return not any(path.exists() for path in left)

        await until(replayed, "what was in the spool is stored", seconds=_PATIENCE_SECONDS)
        await until(
            self._requests_are_done,
            "requests and holds are as they should",
            seconds=_PATIENCE_SECONDS,
        )
        self.settled_us = min(ends.values())
        lost = [await self._cost(camera, before_us, killed_us, causes) for camera in KEPT]
        worst, back_us = max(lost)
        self.calm_us = killed_us + max(back for _, back in lost)
        self.kills.append(Kill(where, worst, back_us))
        await self._still_listed()
        await until(
            self._is_clean,
            f"the checker is content after a kill: {where}",
            seconds=_PATIENCE_SECONDS,
        )

    async def _cost(
        self, camera: str, before_us: int, killed_us: int, causes: set[str]
    ) -> tuple[int, int]:
        """What of a camera is missing: lost before the kill, and until it went on; microseconds."""
        entries = (await timelines(self.vigie, [camera], before_us, self.settled_us))[camera]
        assert (entries[0].kind, entries[-1].kind) == (SPAN, SPAN), entries
        gaps = [each for each in entries if each.kind != SPAN]
        assert {each.kind for each in gaps} <= {GAP}, gaps
        assert {each.cause for each in gaps} <= {"INGEST_DOWN"} | causes, gaps
        down = [each for each in gaps if each.cause == "INGEST_DOWN"]
        assert down, (camera, entries)
        if not causes:
            assert down[0].start_us >= killed_us - KEY_INTERVAL_US - ON_ITS_WAY_US
        await self.frames_are_there_or_in_a_gap(camera, before_us, self.settled_us)
        return max(0, killed_us - down[0].start_us), down[-1].end_us - killed_us

    async def frames_are_there_or_in_a_gap(self, camera: str, start_us: int, end_us: int) -> int:
        """Every frame number once, as it was sent, or inside a gap; returns how many are there."""
        played = await play(self.vigie, camera, start_us, end_us)
        frames = [
            f
            for part in played.fragments
            for f in proof.frames_of_file(part.initialization + part.data)
        ]
        numbers = [frame.mark.decode_number for frame in frames]
        assert numbers == sorted(set(numbers)), "doubled or out of order"
        sent = await proof.expected_frames(self.simulator.control, camera, numbers[0], numbers[-1])
        for frame in frames:
            told = sent[frame.mark.decode_number]
            assert frame.media_sha256 == told["media_sha256"], told
            assert frame.mark.capture_us == told["capture_us"]
        gaps = [(g.start_time.ToMicroseconds(), g.end_time.ToMicroseconds()) for g in played.gaps]
        assert_in_gaps([sent[number] for number in sent if number not in set(numbers)], gaps)
        return len(frames)

    async def _still_listed(self) -> None:
        for camera, before in self.listed.items():
            found = await segments(self.vigie, camera, self.begun_us, WALL.now_us())
            now = {each.object_key: each.sha256 for each in found}
            assert before.items() <= now.items(), (
                f"no longer listed: {before.items() - now.items()}"
            )

    async def _is_clean(self) -> bool:
        report = await self.vigie.fsck(seconds=_PATIENCE_SECONDS)
        return report.code == 0


def assert_in_gaps(frames: Sequence[dict[str, Any]], gaps: Sequence[tuple[int, int]]) -> None:
    """The time of each of these frames lies in a gap."""
    slack_us = proof.TOLERANCE_US
    for frame in frames:
        at_us = frame["capture_us"]
        assert any(start - slack_us <= at_us <= end + slack_us for start, end in gaps), (
            frame, gaps,
        )  # fmt: skip
