"""Synthetic footage: NAL units of the right types, without an encoder."""

import random
from collections.abc import Callable
from fractions import Fraction

import pytest

from vigie.platform.clock import ManualMonotonicClock, ManualWallClock
from vigie.simcam.camera import Camera
from vigie.simcam.config import CameraConfig
from vigie.simcam.footage import Footage, Sample
from vigie.simcam.marks import Codec
from vigie.simcam.packetize import PreparedFootage

START_US = 1_800_000_000_000_000

MakeFootage = Callable[..., Footage]
MakeCamera = Callable[..., Camera]


def synthetic(
    codec: Codec = "h264",
    *,
    count: int = 20,
    gop: int = 10,
    b_frames: bool = False,
    rate: Fraction = Fraction(25),
    key: str = "synthetic",
    slice_bytes: int = 3000,
) -> Footage:
    generator = random.Random(key)
    heads = {
        "h264": (b"\x65", b"\x41", (b"\x67\x42\xc0\x1e", b"\x68\xce")),
        "h265": (b"\x26\x01", b"\x02\x01", (b"\x40\x01", b"\x42\x01", b"\x44\x01")),
    }
    key_head, other_head, set_heads = heads[codec]
    order = list(range(count))
    if b_frames:  # I P B P B ...: each P is sent before the B shown before it
        for start in range(0, count, gop):
            for i in range(start + 1, min(start + gop, count) - 1, 2):
                order[i], order[i + 1] = order[i + 1], order[i]
    samples = []
    for index in range(count):
        is_key = index % gop == 0
        body = generator.randbytes(slice_bytes if is_key else slice_bytes // 4)
        samples.append(Sample(((key_head if is_key else other_head) + body,), order[index], is_key))
    sets = tuple(head + generator.randbytes(6) for head in set_heads)
    depth = max(sample.display_index - i for i, sample in enumerate(samples))
    return Footage(key, codec, 320, 180, rate, sets, tuple(samples), depth)


@pytest.fixture
def make_footage() -> MakeFootage:
    return synthetic


@pytest.fixture
def monotonic() -> ManualMonotonicClock:
    return ManualMonotonicClock(5_000_000)


@pytest.fixture
def wall() -> ManualWallClock:
    return ManualWallClock(START_US)


@pytest.fixture
def make_camera(monotonic: ManualMonotonicClock, wall: ManualWallClock) -> MakeCamera:
    def make(footage: Footage | None = None, **fields: object) -> Camera:
        config = CameraConfig.model_validate({"id": "cam-01", **fields})
        prepared = PreparedFootage(footage or synthetic(), in_band=config.in_band_parameter_sets)
        return Camera(config, prepared, wall, monotonic)

    return make
