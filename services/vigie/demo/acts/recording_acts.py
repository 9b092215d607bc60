"""Recording, its timeline, playback, live pictures, and the state of the store."""

import asyncio
from contextlib import aclosing
from io import BytesIO

from PIL import Image

from vigie.cli.language import tr
from vigie.common.v1 import types_pb2
from vigie.demo import estate
from vigie.demo.acts.watching import decode_frames, play_fragments, watch_live
from vigie.demo.frames import breaks, frames_of
from vigie.demo.scene import PURPOSE, Scene, window
from vigie.recording.v1 import playback_pb2, playback_pb2_grpc, recording_pb2
from vigie.simcam import Fault, decode_blocks

_FIRST_FOOTAGE_SECONDS = 20
_OUTAGE_SECONDS = 8
_TOLERANCE_US = 40_000
_LIVE_LATENCY_US = 200_000
SPAN = recording_pb2.TIMELINE_ENTRY_KIND_SPAN
GAP = recording_pb2.TIMELINE_ENTRY_KIND_GAP


async def start(scene: Scene) -> None:
    """The simulated cameras, then the product."""
    account = scene.account
    with account.step("Simulated cameras", "Caméras simulées"):
        await scene.stage.start_cameras()
        account.say(f"{len(estate.CAMERAS)} RTSP · H.264, H.265, B-frames, digest")
    with account.step("The product: one process", "Le produit : un processus"):
        scene.begun_us = scene.wall.now_us()
        await scene.stage.start_product()
        account.say(f"gRPC {scene.stage.address}  http {scene.stage.http_address}")


async def first_footage(scene: Scene) -> None:
    """The first listed footage of every camera that may record."""
    with scene.account.step("First footage on the timeline", "Premières images listées"):
        expected = [*estate.HEALTHY, estate.BROKEN]

        async def all_listed() -> bool | None:
            now_us = scene.wall.now_us()
            entries = await scene.timeline(expected, window(scene.begun_us, now_us))
            for camera, found in entries.items():
                spans = [entry for entry in found if entry.kind == SPAN]
                if spans:
                    scene.listed_us.setdefault(camera, spans[0].start_time.ToMicroseconds())
                    scene.account.facts.setdefault(
                        "first_footage_seconds", (scene.wall.now_us() - scene.begun_us) / 1e6
                    )
            return True if len(scene.listed_us) == len(expected) else None

        await scene.until(all_listed, "first footage", seconds=60)
        seconds = float(scene.account.facts["first_footage_seconds"])
        scene.account.check(
            tr("first footage is listed in less than 20 s", "premières images en moins de 20 s"),
            seconds < _FIRST_FOOTAGE_SECONDS,
            f"{seconds:.1f} s",
        )


async def break_a_camera(scene: Scene) -> None:
    """One camera becomes unreachable for a while; then all that was filmed gets stored."""
    with scene.account.step("One camera fails for 8 s", "Une caméra tombe pendant 8 s"):
        control = scene.stage.cameras.control
        begin_us = scene.wall.now_us()
        await control.inject(estate.BROKEN, Fault.UNREACHABLE)
        await scene.clock.sleep(_OUTAGE_SECONDS)
        await control.clear(estate.BROKEN)
        scene.broken_us = (begin_us, scene.wall.now_us())
        back_us = scene.broken_us[1]

        async def stored_again() -> int | None:
            cameras = [*estate.HEALTHY, estate.BROKEN]
            entries = await scene.timeline(cameras, window(back_us, scene.wall.now_us()))
            ends = [
                max((e.end_time.ToMicroseconds() for e in found if e.kind == SPAN), default=0)
                for found in entries.values()
            ]
            # Footage of every camera, some seconds beyond the repair.
            return min(ends) if min(ends) > back_us + 4_000_000 else None

        scene.settled_us = await scene.until(stored_again, "footage after the outage", seconds=60)


async def timeline(scene: Scene) -> None:
    """Gaps must be where they were made, bear their causes, and be nowhere else."""
    from vigie.cli.timeline_view import draw

    account = scene.account
    with account.step("The timeline", "La chronologie"):
        begin_us = max(scene.estate_us, *scene.listed_us.values())
        shown = window(begin_us, scene.settled_us)
        cameras = [camera.id for camera in estate.CAMERAS]
        entries = await scene.timeline(cameras, shown)
        draw(
            account.console,
            shown,
            [
                recording_pb2.CameraTimeline(camera=camera, entries=entries[camera])
                for camera in cameras
            ],
        )
        whole = [camera for camera in estate.HEALTHY if _is_whole(entries[camera], shown)]
        account.check(
            tr("six cameras have no gap at all", "six caméras sans aucune lacune"),
            len(whole) == len(estate.HEALTHY),
            f"{len(whole)} / {len(estate.HEALTHY)}",
        )
        _check_broken(scene, entries[estate.BROKEN])
        causes = {types_pb2.GapCause.Name(e.cause) for e in entries[estate.UNAUTHORISED]}
        account.check(
            tr("the camera without an authorisation did not record",
               "la caméra sans autorisation n'a pas enregistré"),
            causes == {"GAP_CAUSE_NOT_AUTHORISED"},
            ", ".join(sorted(causes)),
        )  # fmt: skip
        account.facts["cameras"] = cameras
        account.facts["window"] = {
            "start": shown.start_time.ToJsonString(),
            "end": shown.end_time.ToJsonString(),
        }


def _is_whole(entries: list[recording_pb2.TimelineEntry], shown: types_pb2.TimeWindow) -> bool:
    spans = [entry for entry in entries if entry.kind == SPAN]
    covered = sum(e.end_time.ToMicroseconds() - e.start_time.ToMicroseconds() for e in spans)
    wanted = shown.end_time.ToMicroseconds() - shown.start_time.ToMicroseconds()
    return len(spans) == len(entries) and covered == wanted


def _check_broken(scene: Scene, entries: list[recording_pb2.TimelineEntry]) -> None:
    gaps = [entry for entry in entries if entry.kind == GAP]
    causes = [types_pb2.GapCause.Name(gap.cause).removeprefix("GAP_CAUSE_") for gap in gaps]
    named = set(causes) <= {"CAMERA_UNREACHABLE", "CLOSED_BY_CAMERA"} and bool(causes)
    first_us = gaps[0].start_time.ToMicroseconds() if gaps else 0
    last_us = gaps[-1].end_time.ToMicroseconds() if gaps else 0
    begin_us, end_us = scene.broken_us
    placed = abs(first_us - begin_us) < 2_000_000 and last_us >= end_us - 500_000  # noqa: PLR2004
    scene.account.check(
        tr(
            "the broken camera has one gap, with its cause",
            "la panne est une lacune, avec sa cause",
        ),
        named and placed,
        f"{', '.join(causes)} {(last_us - first_us) / 1e6:.1f} s",
    )


async def play(scene: Scene) -> None:
    """What was played is what was filmed: frame by frame, each at its time."""
    account = scene.account
    with account.step("Playback, frame by frame", "Relecture, image par image"):
        frames_total, worst_us, errors = 0, 0, []
        for camera in estate.HEALTHY:
            fragments = await play_fragments(scene, camera)
            frames = frames_of(fragments)
            frames_total += len(frames)
            errors += [f"{camera}: {each}" for each in breaks(frames)]
            worst_us = max(worst_us, *(abs(frame.error_us) for frame in frames))
        account.check(
            tr("no frame missing, doubled or out of order", "aucune image manquante ni doublée"),
            frames_total > 0 and not errors,
            f"{frames_total} {tr('frames', 'images')}" + (f"; {errors[:3]}" if errors else ""),
        )
        account.check(
            tr("every frame within 40 ms of its true time", "chaque image à 40 ms de son heure"),
            worst_us <= _TOLERANCE_US,
            f"{worst_us / 1000:.1f} ms",
        )
        account.facts["frames"] = {"found": frames_total, "breaks": errors}
        await _snapshot(scene)


async def _snapshot(scene: Scene) -> None:
    camera = estate.HEALTHY[0]
    stub = scene.stage.client(playback_pb2_grpc.PlaybackServiceStub, "operateur-csu")
    request = playback_pb2.GetSnapshotRequest(camera=f"cameras/{camera}", purpose=PURPOSE)
    request.time.FromMicroseconds(scene.settled_us - 2_000_000)
    answer = await stub.GetSnapshot(request)
    (scene.stage.folder / "snapshot.jpg").write_bytes(answer.image)
    picture = Image.open(BytesIO(answer.image)).convert("L")
    number = decode_blocks(picture.tobytes(), picture.width, picture.width)
    age_us = request.time.ToMicroseconds() - answer.frame_time.ToMicroseconds()
    scene.account.check(
        tr("a snapshot shows the frame of its instant", "une image fixe montre le bon instant"),
        number is not None and 0 <= age_us <= _TOLERANCE_US,
        f"snapshot.jpg {answer.width} x {answer.height}, {tr('frame', 'image')} {number}",
    )


async def live(scene: Scene) -> None:
    """A viewer sees the camera now."""
    with scene.account.step("Live", "Direct"):
        async with aclosing(watch_live(scene, estate.HEALTHY[1], seconds=3)) as chunks:
            received = [chunk async for chunk in chunks]
        data = b"".join(chunk.data for chunk in received)
        frames = await asyncio.to_thread(decode_frames, data)
        delays = sorted(chunk.delay_us for chunk in received if chunk.delay_us is not None)
        typical_us = delays[len(delays) // 2] if delays else 1 << 60
        scene.account.check(
            tr("live pictures decode, at most 200 ms later", "direct lisible, 200 ms au plus"),
            frames > 0 and typical_us <= _LIVE_LATENCY_US,
            f"{frames} {tr('frames', 'images')}, {typical_us / 1000:.0f} ms",
        )


async def check_store(scene: Scene) -> None:
    """The checker on the live installation."""
    from vigie.demo.acts.checking import run_fsck

    with scene.account.step("Consistency of the store", "Cohérence du stockage"):
        findings, looked = await run_fsck(scene)
        scene.account.check(
            tr("fsck finds nothing", "fsck ne trouve rien"),
            not findings and looked > 0,
            f"{looked} {tr('checks', 'contrôles')}" + (f"; {findings[:3]}" if findings else ""),
        )


async def stop(scene: Scene) -> None:
    """SIGTERM: the open segments are closed and stored before the process ends."""
    with scene.account.step("Orderly stop", "Arrêt ordonné"):
        code = await scene.stage.stop_product()
        left = [path for path in (scene.stage.data / "spool").rglob("*.m4v") if path.is_file()]
        scene.account.check(
            tr("SIGTERM: exit 0, nothing left in the spool", "SIGTERM : sortie 0, tampon vide"),
            code == 0 and not left,
            f"exit {code}, {len(left)} {tr('files', 'fichiers')}",
        )
