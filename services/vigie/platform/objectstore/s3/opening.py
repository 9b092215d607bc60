"""Opening the store on S3 as it is configured."""

from pathlib import Path

import structlog

from vigie.platform.clock import MonotonicClock, SystemMonotonicClock, WallClock
from vigie.platform.errors import VigieError
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.objectstore.s3.client import S3Client
from vigie.platform.objectstore.s3.credentials import FileCredentials
from vigie.platform.objectstore.s3.failures import StoreFailure
from vigie.platform.objectstore.s3.requests import Requests
from vigie.platform.objectstore.s3.settings import S3Config
from vigie.platform.objectstore.s3.store import S3ObjectStore
from vigie.platform.reasons import CONFIG_INVALID

log = structlog.get_logger(__name__)


async def open_s3_store(
    config: S3Config,
    wall_clock: WallClock,
    *,
    workspace: Path | None,
    registry: MetricsRegistry | None = None,
    monotonic_clock: MonotonicClock | None = None,
    faults: FaultPoints = NO_FAULTS,
) -> S3ObjectStore:
    """A store on S3, tried; or, when nobody answers there now, one that will be tried.

    Raises:
        VigieError: CONFIG_INVALID; everything that waiting would not mend (see
            `S3ObjectStore.open`).
    """
    store = unopened(
        config,
        wall_clock,
        workspace=workspace,
        registry=registry,
        monotonic_clock=monotonic_clock,
        faults=faults,
    )
    try:
        await store.open()
    except VigieError as error:
        if not (isinstance(error, StoreFailure) and error.passing):
            await store.close()
            raise
        # Whoever waits for it says so, once.
        log.debug("s3_store_not_there_yet", error=error.message)
    except BaseException:
        await store.close()
        raise
    return store


def requests_for(
    config: S3Config,
    wall_clock: WallClock,
    *,
    registry: MetricsRegistry | None = None,
    monotonic_clock: MonotonicClock | None = None,
) -> Requests:
    """What sends requests to the configured store.

    Raises:
        VigieError: CONFIG_INVALID.
    """
    if config.endpoint is None or config.access_key_file is None or config.secret_key_file is None:
        raise VigieError(
            CONFIG_INVALID,
            "s3.endpoint, s3.access_key_file and s3.secret_key_file belong together",
            field="s3",
        )
    if config.ca_file is not None and not config.ca_file.is_file():
        raise VigieError(CONFIG_INVALID, f"there is no file {config.ca_file}", field="s3.ca_file")
    credentials = FileCredentials(config.access_key_file, config.secret_key_file)
    credentials.retrieve()
    client = S3Client(config, credentials, wall_clock)
    return Requests(
        client, config, monotonic_clock or SystemMonotonicClock(), registry or MetricsRegistry()
    )


def unopened(
    config: S3Config,
    wall_clock: WallClock,
    *,
    workspace: Path | None,
    registry: MetricsRegistry | None = None,
    monotonic_clock: MonotonicClock | None = None,
    faults: FaultPoints = NO_FAULTS,
) -> S3ObjectStore:
    """A store that was asked nothing yet.

    Raises:
        VigieError: CONFIG_INVALID.
    """
    registry = registry or MetricsRegistry()
    requests = requests_for(config, wall_clock, registry=registry, monotonic_clock=monotonic_clock)
    return S3ObjectStore(
        requests, wall_clock, workspace=workspace, registry=registry, faults=faults
    )
