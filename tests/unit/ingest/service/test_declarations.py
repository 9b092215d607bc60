"""What ingest declares: metrics, reasons, configuration, topics."""

import pytest
from pydantic import ValidationError

from vigie.ingest import metrics, reasons
from vigie.ingest.config import IngestConfig
from vigie.ingest.supervisor.plan import LIBAV, NATIVE, choose_engine
from vigie.ingest.topics import TOPICS
from vigie.platform.metrics import MetricSpec, naming_faults
from vigie.registry.v1 import events_pb2 as registry


def test_metrics_are_named_by_the_rules() -> None:
    assert naming_faults(metrics.METRICS) == []
    declared = {value for value in vars(metrics).values() if isinstance(value, MetricSpec)}
    assert declared == set(metrics.METRICS)


def test_reasons_are_unique() -> None:
    names = [reason.name for reason in reasons.REASONS]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "values",
    [
        {"segment_seconds": 1},
        {"segment_seconds": 301},
        {"segment_second": 30},
        {"key_prefix": "/x"},
    ],
)
def test_nonsense_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        IngestConfig.model_validate(values)


def test_suspect_combinations_are_explained() -> None:
    assert IngestConfig().suspicions() == []
    suspect = IngestConfig(
        segment_seconds=300, live_tick_seconds=0.5, spool_quota_bytes=20 << 20, spool_sync="segment"
    )
    assert {item.key for item in suspect.suspicions()} == {
        "segment_seconds",
        "live_tick_seconds",
        "spool_quota_bytes",
        "spool_sync",
    }


@pytest.mark.parametrize(
    ("wanted", "uri", "engine"),
    [
        (registry.RECEPTION_ENGINE_UNSPECIFIED, "rtsp://x/1", NATIVE),
        (registry.RECEPTION_ENGINE_UNSPECIFIED, "RTSPS://x/1", NATIVE),
        (registry.RECEPTION_ENGINE_UNSPECIFIED, "http://x/mjpeg", LIBAV),
        (registry.RECEPTION_ENGINE_UNSPECIFIED, "srt://x:1", LIBAV),
        (registry.RECEPTION_ENGINE_LIBAV, "rtsp://x/1", LIBAV),
        (registry.RECEPTION_ENGINE_NATIVE, "http://x/1", NATIVE),
    ],
)
def test_the_engine_follows_from_state_and_address(
    wanted: registry.ReceptionEngine.ValueType, uri: str, engine: str
) -> None:
    assert choose_engine(wanted, uri) == engine


def test_status_is_compacted_and_footage_is_not() -> None:
    assert {topic.name: topic.compacted for topic in TOPICS} == {
        "segments": False,
        "stream-status": True,
    }
