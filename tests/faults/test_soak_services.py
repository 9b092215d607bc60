"""What the soak of services says of looks at processes, without the services."""

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

from faults.soak import Plan, Result
from faults.soak_services import Look, ServiceSample, curves, judge, summary, table
from faults.soaking.plot import draw

SERVICES = ("ingest", "gateway")
PLAN = Plan(
    minutes=1,
    warm_up_seconds=10,
    cameras=2,
    steady=1,
    viewers=1,
    pace=1,
    sample_seconds=1,
    seed=1,
    segment_seconds=2,
    footage=Path("unused"),
)


def looks(*, growing: str) -> list[Look]:
    made = []
    for at in range(60):
        services = {
            name: ServiceSample(
                pss_bytes=100_000_000 + (at * 1_000_000 if name == growing else 0),
                open_files=50,
                threads=10,
                tasks=20,
                cpu_seconds=at / 10,
            )
            for name in SERVICES
        }
        made.append(Look(float(at), services))
    return made


def judged(*, growing: str = "") -> Result:
    result = Result(samples=looks(growing=growing), done=Counter({"clip": 3}))  # type: ignore[arg-type]
    judge(PLAN, result)
    return result


def test_nothing_grows() -> None:
    result = judged()
    assert result.wrong == []
    assert len(result.comparisons) == 4 * len(SERVICES)


def test_the_service_that_grows_is_named() -> None:
    result = judged(growing="gateway")
    [wrong] = result.wrong
    assert wrong.startswith("gateway: memory (MB, PSS)")
    assert "GREW" in wrong
    told = summary(PLAN, result)
    assert "gateway: PSS 100.0 MB at first, 159.0 MB at the end; 0.10 of a core" in told
    assert f"WRONG {wrong}" in told


def test_every_service_is_in_picture_and_table() -> None:
    made = looks(growing="ingest")
    picture = draw(made, "services", PLAN.warm_up_seconds, curves(SERVICES))
    assert ET.fromstring(picture).tag.endswith("svg")
    assert "ingest, PSS (MB)" in picture
    assert "100 to 159" in picture
    lines = table(made).splitlines()
    assert lines[0] == "at_seconds,service,pss_bytes,open_files,threads,tasks,cpu_seconds"
    assert lines[1] == "0.0,ingest,100000000,50,10,20,0.0"
    assert len(lines) == 1 + 60 * len(SERVICES)
