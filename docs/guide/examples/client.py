"""A small client: list cameras, watch streams, read a timeline, play, take a clip, watch live.

    python client.py --address 127.0.0.1:7443 --token-file token --camera cam-a --output out

It needs the generated messages (`vigie.*.v1`, part of the distribution `vigie`, or made from
`protos/` by any protoc), `grpcio` and `grpcio-status`; nothing else of the product.
"""
# ruff: noqa: T201, INP001 - an example prints, and is a script, no package

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from vigie.common.v1 import types_pb2
from vigie.ingest.v1 import events_pb2, live_pb2, live_pb2_grpc, streams_pb2, streams_pb2_grpc
from vigie.recording.v1 import (
    playback_pb2,
    playback_pb2_grpc,
    recording_pb2,
    recording_pb2_grpc,
)
from vigie.registry.v1 import cameras_pb2, cameras_pb2_grpc

UNARY_SECONDS = 20.0


class Client:
    """One connection to Vigie and the identity it is used with.

    Args:
        address: ``host:port``.
        token: bearer token of the person or program.
        ca_file: authority to trust, PEM; ``None``: plain text (only on the same machine).
    """

    def __init__(self, address: str, token: str, ca_file: Path | None = None) -> None:
        if ca_file is None:
            self.channel = grpc.insecure_channel(address)
        else:
            trust = grpc.ssl_channel_credentials(ca_file.read_bytes())
            self.channel = grpc.secure_channel(address, trust)
        self.metadata = (("authorization", f"Bearer {token}"), ("accept-language", "en"))

    def cameras(self, filter_text: str = "") -> Iterator[cameras_pb2.Camera]:
        """Every camera the caller may see, page by page."""
        stub = cameras_pb2_grpc.CameraServiceStub(self.channel)
        request = cameras_pb2.ListCamerasRequest(filter=filter_text, page_size=100)
        while True:
            answer = stub.ListCameras(request, metadata=self.metadata, timeout=UNARY_SECONDS)
            yield from answer.cameras
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    def streams(self) -> Iterator[streams_pb2.Stream]:
        """The state of every stream, up to the first checkpoint.

        Read on for changes; keep ``resume_token`` to go on after a break.
        """
        stub = streams_pb2_grpc.StreamServiceStub(self.channel)
        request = streams_pb2.WatchStreamsRequest()
        answers: Any = stub.WatchStreams(request, metadata=self.metadata)
        for answer in answers:
            if answer.is_checkpoint:
                answers.cancel()
                return
            yield answer.stream

    def timeline(self, camera: str, start: datetime, end: datetime) -> list[Any]:
        """What is there and what is missing; every instant is in exactly one entry."""
        stub = recording_pb2_grpc.RecordingServiceStub(self.channel)
        request = recording_pb2.GetTimelineRequest(cameras=[camera], window=window(start, end))
        entries: list[Any] = []
        while True:
            answer = stub.GetTimeline(request, metadata=self.metadata, timeout=UNARY_SECONDS)
            entries += [entry for each in answer.timelines for entry in each.entries]
            if not answer.next_page_token:
                return entries
            request.page_token = answer.next_page_token

    def play(
        self, camera: str, start: datetime, end: datetime, purpose: types_pb2.Purpose, folder: Path
    ) -> list[Path]:
        """Stored footage as it is stored: one playable MP4 file for each run.

        A connection that breaks is resumed after the last whole fragment.
        """
        stub = playback_pb2_grpc.PlaybackServiceStub(self.channel)
        request = playback_pb2.PlayRequest(camera=camera, purpose=purpose)
        request.start_time.FromDatetime(start)
        request.end_time.FromDatetime(end)
        writer = RunFiles(folder)
        for _ in range(5):
            try:
                for answer in stub.Play(request, metadata=self.metadata):
                    writer.take(answer)
                    if answer.resume_token:
                        request.resume_token = answer.resume_token
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                writer.forget_half()
            else:
                return writer.files
        raise TimeoutError("the connection broke five times")

    def clip(
        self, camera: str, start: datetime, end: datetime, purpose: types_pb2.Purpose, folder: Path
    ) -> list[Path]:
        """One MP4 of exactly the window (several where codec or size changed)."""
        stub = playback_pb2_grpc.PlaybackServiceStub(self.channel)
        request = playback_pb2.GetClipRequest(
            camera=camera, window=window(start, end), purpose=purpose
        )
        files: list[Path] = []
        for answer in stub.GetClip(request, metadata=self.metadata):
            if answer.HasField("file"):
                files.append(folder / answer.file.filename)
                files[-1].write_bytes(b"")
            elif answer.HasField("data"):
                with files[-1].open("ab") as stream:
                    stream.write(answer.data)
        return files

    def live(
        self, camera: str, seconds: float, purpose: types_pb2.Purpose, path: Path
    ) -> tuple[int, int]:
        """Live pictures into a file for some time; returns chunks and frames left out."""
        stub = live_pb2_grpc.LiveServiceStub(self.channel)
        request = live_pb2.WatchLiveRequest(camera=camera, purpose=purpose)
        chunks = skipped = 0
        end = datetime.now(UTC) + timedelta(seconds=seconds)
        answers: Any = stub.WatchLive(
            request, metadata=self.metadata, timeout=seconds + UNARY_SECONDS
        )
        with path.open("wb") as stream:
            for answer in answers:
                if answer.HasField("header"):
                    stream.seek(0)  # other parameters: decode times begin again, so does the file
                    stream.truncate()
                    stream.write(answer.header.data)
                elif answer.HasField("chunk"):
                    stream.write(answer.chunk.data)
                    chunks += 1
                elif answer.HasField("skipped"):
                    skipped += answer.skipped.frame_count
                if datetime.now(UTC) >= end:
                    answers.cancel()
                    break
        return chunks, skipped


class RunFiles:
    """Writes what `Play` sends: a file for each run, whole fragments only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[Path] = []
        self._run = ""
        self._fragment = bytearray()

    def take(self, answer: playback_pb2.PlayResponse) -> None:
        """Write one message."""
        if answer.HasField("header"):
            if answer.header.run == self._run:
                return  # resumed within a run: the header is the one we have
            self._run = answer.header.run
            path = self.folder / f"{len(self.files):03d}-{self._run}.mp4"
            path.write_bytes(answer.header.initialization)
            self.files.append(path)
        elif answer.HasField("fragment"):
            self._fragment += answer.fragment.data
            if answer.fragment.last:
                with self.files[-1].open("ab") as stream:
                    stream.write(self._fragment)
                self._fragment.clear()
        elif answer.HasField("gap"):
            print(f"    gap {name(answer.gap.cause)} {seconds(answer.gap):.1f} s")

    def forget_half(self) -> None:
        """The connection broke within a fragment: it will be sent again, whole."""
        self._fragment.clear()


def window(start: datetime, end: datetime) -> types_pb2.TimeWindow:
    """Two instants as the contracts want them."""
    made = types_pb2.TimeWindow()
    made.start_time.FromDatetime(start)
    made.end_time.FromDatetime(end)
    return made


def name(cause: types_pb2.GapCause.ValueType) -> str:
    """``CAMERA_SILENT`` and so on."""
    return types_pb2.GapCause.Name(cause).removeprefix("GAP_CAUSE_")


def seconds(interval: Any) -> float:
    """Length of anything with ``start_time`` and ``end_time``."""
    return float(
        (interval.end_time.ToMicroseconds() - interval.start_time.ToMicroseconds()) / 1_000_000
    )


def explain(error: Any) -> str:
    """Status and stable reason of a failed call: what a program decides by."""
    status = rpc_status.from_call(error)
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status else ():
        if detail.Unpack(info):
            return f"{error.code().name} {info.reason}: {error.details()}"
    return f"{error.code().name}: {error.details()}"


def tour(client: Client, camera: str, folder: Path, live_seconds: float) -> None:
    """Everything once."""
    for each in client.cameras():
        print(f"{each.name}  {each.display_name}")
    for stream in client.streams():
        state = events_pb2.StreamState.Name(stream.state)
        print(f"{stream.name}  {state}  {stream.width}x{stream.height} {stream.codec}")
    end = datetime.now(UTC)
    start = end - timedelta(minutes=5)
    print(f"timeline of {camera}")
    spans = []
    for entry in client.timeline(camera, start, end):
        kind = recording_pb2.TimelineEntryKind.Name(entry.kind)
        kind = kind.removeprefix("TIMELINE_ENTRY_KIND_")
        cause = name(entry.cause) if kind == "GAP" else ""
        start_text = entry.start_time.ToDatetime().isoformat()
        print(f"    {start_text}  {seconds(entry):8.3f} s  {kind} {cause}")
        if kind == "SPAN":
            spans.append(entry)
    if not spans:
        print("nothing is stored yet")
        return
    begin = spans[-1].start_time.ToDatetime(tzinfo=UTC)
    until = min(spans[-1].end_time.ToDatetime(tzinfo=UTC), begin + timedelta(seconds=10))
    purpose = types_pb2.Purpose(text="Trial of the example client", case_reference="EXAMPLE-1")
    for path in client.play(camera, begin, until, purpose, folder):
        print(f"played {path} ({path.stat().st_size} bytes)")
    try:
        for path in client.clip(camera, begin, until, purpose, folder):
            print(f"clip {path} ({path.stat().st_size} bytes)")
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.PERMISSION_DENIED:
            raise
        print(f"no clip: {explain(error)}")  # not every role may take clips
    path = folder / "live.mp4"
    chunks, skipped = client.live(camera, live_seconds, purpose, path)
    print(f"live {path}: {chunks} chunks, {skipped} frames left out")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="127.0.0.1:7443")
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--ca-file", type=Path)
    parser.add_argument("--camera", required=True, help="e.g. cam-brezet-quai")
    parser.add_argument("--output", type=Path, default=Path())
    parser.add_argument("--live-seconds", type=float, default=5.0)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    client = Client(options.address, options.token_file.read_text().strip(), options.ca_file)
    try:
        tour(client, f"cameras/{options.camera}", options.output, options.live_seconds)
    except grpc.RpcError as error:
        sys.exit(explain(error))


if __name__ == "__main__":
    main()
