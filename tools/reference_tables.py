"""Reference pages that are tables of what the modules declare about themselves."""

import json
import pkgutil
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Final

from reference_markdown import code, page, table
from vigie.platform.errors import ReasonSpec
from vigie.platform.metrics import MetricSpec

_CONTEXTS: Final = ("platform", "access", "registry", "ingest", "recording", "evidence", "audit")

_CONFIGURATION: Final = """\
One TOML file (`--config`, `VIGIE_CONFIG`) and the environment; the environment wins. Unknown
sections, unknown keys and values in a wrong unit are refused, with the place and the remedy.
Relative paths are taken from the folder of the file. A secret never stands in the file: the key
names a file that holds it (or the environment variable holds it). `vigie config show` prints what
is in force and where each value was set."""

_METRICS: Final = """\
Served at `/metrics` (Prometheus text format). Counters end in `_total`; histograms have the usual
`_bucket`, `_sum` and `_count`. Labels take few values: those named `camera` have one for each
camera."""

_ERRORS: Final = """\
Every error of the API carries `google.rpc.ErrorInfo` with the domain `vigie` and one of these
reasons. Reasons are stable: programs may decide by them. The same names stand in metric labels
and logs."""

_REJECTIONS: Final = """\
## Rejections of an evidence package

`vigie evidence verify` names the first thing that is wrong, in the order of
[the verification](../design/evidence-package.md)."""

_PERMISSIONS: Final = """\
Every method names one permission (see [the API](api.md)). A role carries permissions; a person
holds a role in zones (or everywhere), by an agency, from a date and until a date. What no role
carries is refused. Services of the product call each other under the role `service`, which shows
no footage and changes nothing."""

_TOPICS: Final = """\
The event log. Values are protobuf messages with CloudEvents attributes. A compacted topic keeps
the newest event of each key for ever; the others keep events for a time. The number of partitions
is what a distributed log is to give the topic; the embedded log has one order for all."""


def modules(name: str) -> Iterator[tuple[str, ModuleType]]:
    """Every module ``vigie.<context>…<name>``, with its context, in a fixed order."""
    for context in _CONTEXTS:
        package = import_module(f"vigie.{context}")
        found = [
            item.name
            for item in pkgutil.walk_packages(package.__path__, f"vigie.{context}.")
            if item.name.rpartition(".")[2] == name
        ]
        for path in sorted(found):
            yield context, import_module(path)


def reasons() -> dict[str, tuple[ReasonSpec, ...]]:
    """Context -> reasons it declares, each by name."""
    found: dict[str, dict[str, ReasonSpec]] = {context: {} for context in _CONTEXTS}
    for context, module in modules("reasons"):
        found[context] |= {spec.name: spec for spec in module.REASONS}
    return {
        context: tuple(specs[name] for name in sorted(specs))
        for context, specs in found.items()
        if specs
    }


def metric_specs() -> dict[str, tuple[MetricSpec, ...]]:
    """Context -> metrics it declares, by name."""
    found: dict[str, dict[str, MetricSpec]] = {context: {} for context in _CONTEXTS}
    for name in ("metrics", "observer"):
        for context, module in modules(name):
            specs = getattr(module, "METRICS", ())
            found[context] |= {spec.name: spec for spec in specs}
    return {context: tuple(s[n] for n in sorted(s)) for context, s in found.items() if s}


def configuration() -> str:
    """The page of all configuration keys."""
    from vigie.app import SECTIONS
    from vigie.platform.config import reference

    # The heading says the name of the section already.
    text = re.sub(r"^Section ``\[\w+\]``: (.)", _capital, reference(SECTIONS), flags=re.MULTILINE)
    return page("Configuration", _CONFIGURATION, text)


def _capital(match: re.Match[str]) -> str:
    return match[1].upper()


def metrics() -> str:
    """The page of all metrics."""
    parts = [_METRICS]
    for context, specs in metric_specs().items():
        rows = [
            (code(s.name), s.kind, ", ".join(code(label) for label in s.labels), s.help)
            for s in specs
        ]
        parts.append(f"## {context}\n\n{table(('name', 'kind', 'labels', 'meaning'), rows)}")
    return page("Metrics", *parts)


def errors() -> str:
    """The page of all reasons, and of the rejections of evidence packages."""
    from vigie.evidence.rejection import REJECTIONS

    head = ("reason", "gRPC code", "meaning", "en français", "what to do")
    parts = [_ERRORS]
    for context, specs in reasons().items():
        rows = [
            (code(s.name), code(s.code.name), s.description_en, s.description_fr, s.remedy)
            for s in specs
        ]
        parts.append(f"## {context}\n\n{table(head, rows)}")
    rejected = [(code(name), english, french) for name, (english, french) in REJECTIONS.items()]
    parts.append(f"{_REJECTIONS}\n\n{table(('rejection', 'meaning', 'en français'), rejected)}")
    return page("Errors", *parts)


def permissions() -> str:
    """The page of permissions and of the roles that carry them."""
    from vigie.access.permissions import PERMISSIONS, ROLES, SERVICE_PERMISSIONS

    carried: Mapping[str, frozenset[str]] = {**ROLES, "service": SERVICE_PERMISSIONS}
    ordered = sorted(PERMISSIONS, key=lambda spec: spec.name)
    matrix = [
        (code(spec.name), *("●" if spec.name in names else "" for names in carried.values()))
        for spec in ordered
    ]
    texts = [(code(spec.name), spec.description_en, spec.description_fr) for spec in ordered]
    return page(
        "Permissions",
        _PERMISSIONS,
        f"## Roles\n\n{table(('permission', *carried), matrix)}",
        f"## Permissions\n\n{table(('permission', 'allows', 'en français'), texts)}",
    )


def topics() -> str:
    """The page of the topics of the event log."""
    from vigie.topics import BROKER_TOPICS

    rows = [
        (
            code(topic.name),
            "newest of each key" if topic.compacted else f"{topic.retention_days} days",
            str(topic.partitions),
            topic.why,
        )
        for topic in sorted(BROKER_TOPICS, key=lambda topic: topic.name)
    ]
    return page("Topics", _TOPICS, table(("topic", "keeps", "partitions", "why"), rows))


def manifest_schema() -> str:
    """The JSON schema of the manifest of an evidence package."""
    from vigie.evidence.manifest import Manifest

    schema = Manifest.model_json_schema(by_alias=True, mode="serialization")
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
