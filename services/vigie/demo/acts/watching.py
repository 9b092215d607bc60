"""Playing and watching, as a client does."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from io import BytesIO

import av

from vigie.demo.frames import PlayedFragment
from vigie.demo.scene import PURPOSE, Scene
from vigie.ingest.v1 import live_pb2, live_pb2_grpc
from vigie.recording.v1 import playback_pb2, playback_pb2_grpc


@dataclass(frozen=True, slots=True)
class LiveChunk:
    """What a live viewer got: bytes to append, and how old the newest frame was on arrival."""

    data: bytes
    delay_us: int | None


async def play_fragments(scene: Scene, camera: str) -> list[PlayedFragment]:
    """Everything stored of a camera since its first footage, fragment by fragment."""
    stub = scene.stage.client(playback_pb2_grpc.PlaybackServiceStub, "operateur-csu")
    request = playback_pb2.PlayRequest(camera=f"cameras/{camera}", purpose=PURPOSE)
    request.start_time.FromMicroseconds(scene.listed_us[camera])
    request.end_time.FromMicroseconds(scene.settled_us)
    fragments: list[PlayedFragment] = []
    header, data = b"", bytearray()
    async for message in stub.Play(request):
        kind = message.WhichOneof("payload")
        if kind == "header":
            header = message.header.initialization
        elif kind == "fragment":
            data += message.fragment.data
            if message.fragment.last:
                part = message.fragment
                fragments.append(
                    PlayedFragment(
                        header, bytes(data), part.start_time.ToMicroseconds(),
                        part.duration.ToMicroseconds(),
                    )
                )  # fmt: skip
                data.clear()
    return fragments


async def watch_live(
    scene: Scene, camera: str, *, seconds: float
) -> AsyncGenerator[LiveChunk, None]:
    """Chunks of a live stream for a while."""
    stub = scene.stage.client(live_pb2_grpc.LiveServiceStub, "operateur-csu")
    request = live_pb2.WatchLiveRequest(camera=f"cameras/{camera}", purpose=PURPOSE)
    call = stub.WatchLive(request)
    deadline = scene.clock.now_us() + round(seconds * 1e6)
    try:
        async for message in call:
            kind = message.WhichOneof("message")
            if kind == "header":
                yield LiveChunk(message.header.data, None)
            elif kind == "chunk":
                delay_us = scene.wall.now_us() - message.chunk.arrival_us
                # The first chunk holds the key-frame interval so far: old on purpose.
                first = message.chunk.sample_count > _A_TICK_OF_FRAMES
                yield LiveChunk(message.chunk.data, None if first else delay_us)
            if scene.clock.now_us() >= deadline:
                return
    finally:
        call.cancel()


_A_TICK_OF_FRAMES = 10


def decode_frames(data: bytes) -> int:
    """How many frames a decoder makes of a file."""
    with av.open(BytesIO(data), "r") as container:
        return len(list(container.decode(video=0)))
