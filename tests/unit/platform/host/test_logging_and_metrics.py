import io
import json
import logging

import pytest
import structlog
from prometheus_client import CollectorRegistry

from vigie.platform.grpc.metrics import METRICS
from vigie.platform.logging import LoggingConfig, configure_logging, scrub
from vigie.platform.metrics import MetricSpec, MetricsRegistry, naming_faults


def lines(form: str = "json") -> io.StringIO:
    stream = io.StringIO()
    configure_logging(LoggingConfig.model_validate({"format": form}), stream=stream)
    return stream


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("rtsp://user:p@ss@cam/1", "rtsp://[removed]@cam/1"),
        ("a rtsps://u:p@c, b http://c/x@y", "a rtsps://[removed]@c, b http://c/x@y"),
        ("rtsp://cam/1", "rtsp://cam/1"),
        ("Authorization: Bearer abc.def.ghi", "Authorization: Bearer [removed]"),
        ({"password": "x", "nested": {"api_token": "y", "tokens": 3}}, None),
    ],
)
def test_credentials_are_removed(value: object, expected: object) -> None:
    if expected is None:
        expected = {"password": "[removed]", "nested": {"api_token": "[removed]", "tokens": 3}}
    assert scrub(value) == expected


def test_a_log_line_is_json_without_secrets() -> None:
    stream = lines()
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        structlog.get_logger("vigie.test").info("camera_opened", url="rtsp://u:p@cam", frames=3)
    event = json.loads(stream.getvalue())
    assert event["event"] == "camera_opened"
    assert (event["request_id"], event["frames"], event["level"]) == ("r-1", 3, "info")
    assert event["url"] == "rtsp://[removed]@cam"


@pytest.mark.parametrize("form", ["json", "console"])
def test_tracebacks_show_no_values(form: str) -> None:
    stream = lines(form)
    hidden = "hunter2"
    try:
        int("rtsp://u:hunter2@cam")
    except ValueError:
        structlog.get_logger().exception("failed")
    logging.getLogger("foreign").error("see http://u:hunter2@x")
    text = stream.getvalue()
    assert "ValueError" in text
    assert "foreign" in text
    assert hidden not in text


def test_names_of_metrics_are_regular() -> None:
    assert naming_faults(METRICS) == []
    bad = (
        MetricSpec("frames_total", "counter", "Help."),
        MetricSpec("vigie_ingest_frames", "counter", "Help."),
        MetricSpec("vigie_ingest_wait", "histogram", "Help"),
    )
    assert len(naming_faults(bad)) == 4


def test_a_metric_is_made_once_from_its_declaration() -> None:
    metrics = MetricsRegistry(CollectorRegistry())
    spec = MetricSpec("vigie_probe_seen_total", "counter", "Seen.", ("who",))
    assert metrics.counter(spec) is metrics.counter(spec)
    metrics.counter(spec).labels("me").inc(2)
    assert metrics.value("vigie_probe_seen_total", who="me") == 2
    with pytest.raises(ValueError, match="twice"):
        metrics.counter(MetricSpec("vigie_probe_seen_total", "counter", "Other.", ("who",)))
    with pytest.raises(ValueError, match="counter"):
        metrics.gauge(spec)
