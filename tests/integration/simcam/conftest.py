"""Simulators on kernel-chosen ports with small footage at 100 frames a second, to save time."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from fractions import Fraction
from pathlib import Path

import pytest

from vigie.simcam import CameraConfig, FootageCache, FootageSpec, ServerConfig, SimCamServer

QUICK = FootageSpec(
    width=320,
    height=180,
    frames_per_second=Fraction(100),
    frame_count=100,
    gop_frames=20,
    bitrate_bps=1_000_000,
)

Serve = Callable[..., AbstractAsyncContextManager[SimCamServer]]


def quick(**fields: object) -> FootageSpec:
    return FootageSpec.model_validate(QUICK.model_dump() | fields)


@pytest.fixture(scope="session")
def cache(footage_folder: Path) -> FootageCache:
    return FootageCache(footage_folder)


@pytest.fixture
def serve(cache: FootageCache, tmp_path: Path) -> Serve:
    @asynccontextmanager
    async def run(*cameras: CameraConfig, **fields: object) -> AsyncIterator[SimCamServer]:
        config = ServerConfig.model_validate(
            {
                "cameras": cameras or (CameraConfig(id="cam-01", footage=QUICK),),
                "cache_folder": tmp_path,
                **fields,
            }
        )
        async with SimCamServer(config, cache=cache) as server:
            yield server

    return run
