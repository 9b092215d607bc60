"""The compose file and what it mounts: names exist, keys are read, rights are few."""

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from vigie.platform.config import Config, load_config
from vigie.platform.grpc.services import CONTEXTS
from vigie.settings import SECTIONS
from vigie.storage import check_choice
from vigie.targets import GATEWAY, NEEDS_OF, TARGETS

INFRA: Final = Path(__file__).resolve().parents[3] / "infra"
COMPOSE: Final = yaml.safe_load((INFRA / "compose.yaml").read_text("utf-8"))
SERVICES: Final[dict[str, Any]] = COMPOSE["services"]
SERVED: Final = (*CONTEXTS, GATEWAY)
ONCE: Final = ("migrate", "topics", "store", "cli")
FOREIGN: Final = ("kafka", "s3", "postgres", "prometheus", "grafana")
KEYS: Final = "/var/lib/vigie-keys"
DOUBTED: Final = {"database.tls", "kafka.min_in_sync", "s3.endpoint", "http.listen"}
"""One machine: servers in plain text on a network without a way out, one copy of events."""
EACH_SERVED: Final = pytest.mark.parametrize("name", SERVED)


def environment_of(name: str) -> dict[str, str]:
    """What the container's process sees, the image's own variable included."""
    own: dict[str, str] = SERVICES[name].get("environment", {})
    return {"VIGIE_DATA__DIRECTORY": "/var/lib/vigie"} | own


def config_of(name: str, folder: Path = INFRA / "compose" / "etc") -> Config:
    """Read by our own reader, from the file the container is given."""
    environment = environment_of(name)
    assert environment.pop("VIGIE_CONFIG") == "/etc/vigie/vigie.toml"
    return load_config(folder / "vigie.toml", SECTIONS, environment)


def secrets_of(name: str) -> dict[str, str]:
    """Where a secret is in the container, below /run/secrets -> its name."""
    found = {}
    for each in SERVICES[name].get("secrets", []):
        entry = each if isinstance(each, dict) else {"source": each, "target": each}
        found[entry["target"]] = entry["source"]
    return found


def mounts_of(name: str) -> dict[str, str]:
    """Path in the container -> volume, or path on this machine."""
    pairs = (entry.split(":") for entry in SERVICES[name].get("volumes", []))
    return {parts[1]: parts[0] for parts in pairs}


def text_values(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from text_values(each)
    elif isinstance(value, list):
        for each in value:
            yield from text_values(each)
    elif value is not None:
        yield str(value)


def test_all_targets_are_there() -> None:
    assert set(SERVICES) == {*SERVED, *ONCE, *FOREIGN, "simcam"}
    for name in SERVED:
        assert SERVICES[name]["command"] == ["serve", name]


@pytest.mark.parametrize("name", [*SERVED, *ONCE])
def test_its_configuration_is_read_and_doubted_only_for_what_the_guide_says(name: str) -> None:
    config = config_of(name)
    assert {each.key for each in config.suspicions} == DOUBTED
    guide = (INFRA.parent / "docs" / "guide" / "compose.md").read_text("utf-8")
    assert all(f"`{key}`" in guide for key in DOUBTED)
    if name in SERVED:
        check_choice(TARGETS[name], config)


def test_a_wrong_key_would_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SERVICES["ingest"]["environment"], "VIGIE_INGEST__INSTANSE", "x")
    with pytest.raises(Exception, match="INSTANSE"):
        config_of("ingest")


@EACH_SERVED
def test_it_has_the_secrets_it_needs_and_no_others(name: str) -> None:
    needs = NEEDS_OF.get(name)
    wanted = {
        "tls/ca.pem": "tls-ca",
        "tls/service.pem": f"tls-{name}",
        "tls/service.key": f"tls-{name}-key",
    }
    if needs is None:
        wanted |= {"people/server.pem": "people-server", "people/server.key": "people-server-key"}
    if needs is not None and needs.database:
        wanted[f"database/{name}"] = f"database-{name}"
    if needs is not None and needs.store:
        wanted |= {"s3/access-key": f"s3-{name}-access", "s3/secret-key": f"s3-{name}-secret"}
    assert secrets_of(name) == wanted
    mounts = mounts_of(name)
    assert (f"{KEYS}/sealing" in mounts) == (needs is not None and needs.sealer)
    assert mounts["/var/lib/vigie"] == name, "no two share a data directory"


@EACH_SERVED
def test_what_it_is_told_is_what_it_is_given(name: str) -> None:
    texts = set(text_values([s.model_dump(mode="json") for s in config_of(name).sections.values()]))
    given = {f"/run/secrets/{target}" for target in secrets_of(name)}
    named = {text for text in texts if text.startswith("/run/secrets/")}
    folders = {str(Path(path).parent) for path in given}
    assert given - named <= {path for path in given if "/database/" in path}
    needs = NEEDS_OF.get(name)
    if needs is not None and needs.database:
        assert "/run/secrets/database" in named & folders


@pytest.mark.parametrize("name", [*SERVED, *ONCE, "simcam"])
def test_containers_of_ours_can_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "user" not in service, "the image says who"


def test_the_image_runs_as_nobody_in_particular() -> None:
    lines = (INFRA / "docker" / "Dockerfile").read_text("utf-8").splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001:10001"]
    assert all("--require-hashes" in line for line in lines if " -r " in line)


def test_pins_of_the_image_are_those_of_everybody() -> None:
    def pins(path: Path) -> dict[str, str]:
        entries = re.split(r"\n(?=\S)", path.read_text("utf-8").strip())
        return {entry.split("==")[0]: entry for entry in entries}

    everybody = pins(INFRA.parent / "constraints.txt")
    project = tomllib.loads((INFRA.parent / "pyproject.toml").read_text("utf-8"))["project"]
    runtime = pins(INFRA / "docker" / "runtime.txt")
    for name in ("runtime.txt", "build.txt"):
        for package, entry in pins(INFRA / "docker" / name).items():
            assert everybody.get(package, entry) == entry, f"{package}: run `make lock`"
    wanted = {re.split(r"[\[><=~! ]", text)[0].lower() for text in project["dependencies"]}
    assert wanted <= set(runtime), "run `make lock`"
    assert "pytest" not in runtime


def test_only_what_people_use_is_reached_from_this_machine() -> None:
    published = {name: s["ports"] for name, s in SERVICES.items() if "ports" in s}
    assert set(published) == {"gateway", "prometheus", "grafana"}
    assert all("127.0.0.1:" in port for ports in published.values() for port in ports)
    assert COMPOSE["networks"]["inside"]["internal"] is True
    for name in ("kafka", "s3", "postgres"):
        assert SERVICES[name]["networks"] == ["inside"]


def test_images_of_others_bear_versions() -> None:
    for name in FOREIGN:
        default = re.fullmatch(r"\$\{VIGIE_[A-Z0-9]+_IMAGE:-(.+)\}", SERVICES[name]["image"])
        assert default, name
        assert re.search(r":v?\d+\.\d+", default[1]), default[1]


def test_names_lead_somewhere() -> None:
    for name, service in SERVICES.items():
        assert set(secrets_of(name).values()) <= set(COMPOSE["secrets"]), name
        assert set(service["networks"]) <= set(COMPOSE["networks"]), name
        assert set(service.get("depends_on", ())) <= set(SERVICES), name
        for source in mounts_of(name).values():
            if source.startswith("."):
                assert (INFRA / source).exists(), source
            else:
                assert source in COMPOSE["volumes"], source
    used = {source for name in SERVICES for source in secrets_of(name).values()}
    assert used == set(COMPOSE["secrets"])
    mounted = {source for name in SERVICES for source in mounts_of(name).values()}
    assert {source for source in mounted if not source.startswith(".")} == set(COMPOSE["volumes"])


def test_services_find_each_other_and_prometheus_finds_them() -> None:
    text = (INFRA / "compose" / "etc" / "vigie.toml").read_text("utf-8")
    config = tomllib.loads(text)
    for context in CONTEXTS:
        assert config["services"][context] == [f"{context}:7444"]
    scraped = yaml.safe_load((INFRA / "compose" / "prometheus.yml").read_text("utf-8"))
    (job,) = scraped["scrape_configs"]
    (group,) = job["static_configs"]
    port = config["http"]["listen"].rpartition(":")[2]
    assert set(group["targets"]) == {f"{name}:{port}" for name in SERVED}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`infra` after `prepare.sh`."""
    if shutil.which("openssl") is None:
        pytest.skip("no program: wants openssl on the PATH")
    infra = tmp_path_factory.mktemp("compose") / "infra"
    without = shutil.ignore_patterns("secrets")
    shutil.copytree(INFRA, infra, ignore=without)
    prepare(infra)
    return infra


def prepare(infra: Path) -> None:
    command = [str(infra / "compose" / "prepare.sh"), "vms.example.org", "10.0.0.7"]
    subprocess.run(command, check=True, capture_output=True)


def test_every_secret_is_made_once(prepared: Path) -> None:
    files = {infra_file(prepared, entry["file"]) for entry in COMPOSE["secrets"].values()}
    before = {path: path.read_bytes() for path in files}
    assert all(before.values())
    assert (prepared / "compose" / "secrets").stat().st_mode & 0o077 == 0
    prepare(prepared)
    assert {path: path.read_bytes() for path in files} == before


def infra_file(infra: Path, name: str) -> Path:
    return infra / name.removeprefix("./")


def test_the_identities_of_the_store_have_the_policies_of_infra(prepared: Path) -> None:
    made = json.loads((prepared / "compose/secrets/s3/identities.json").read_text("utf-8"))
    contents = {each["name"]: json.loads(each["content"]) for each in made["policies"]}
    for name in ("ingest", "recording", "evidence"):
        text = (INFRA / "s3" / f"{name}.json").read_text("utf-8")
        wanted = text.replace("BUCKET", "vigie").replace("PREFIX", "")
        assert contents[name] == json.loads(wanted)
    identities = {each["name"]: each for each in made["identities"]}
    assert [name for name, each in identities.items() if each["actions"]] == ["administrator"]
    for name, each in identities.items():
        (pair,) = each["credentials"]
        folder = prepared / "compose/secrets/s3"
        assert pair["accessKey"] == (folder / f"{name}.access").read_text().strip()
        assert pair["secretKey"] == (folder / f"{name}.secret").read_text().strip()


@EACH_SERVED
def test_a_certificate_is_that_of_its_service(name: str, prepared: Path) -> None:
    folder = prepared / "compose" / "secrets" / "tls"
    told = verified(folder / "ca.pem", folder / f"{name}.pem")
    assert f"URI:spiffe://vigie.internal/vigie/{name}" in told
    assert f"DNS:{name}.vigie.internal" in told


def test_people_are_shown_a_certificate_of_another_authority(prepared: Path) -> None:
    folder = prepared / "compose" / "secrets"
    told = verified(folder / "people/ca.pem", folder / "people/server.pem")
    for each in ("DNS:localhost", "DNS:gateway", "IP Address:127.0.0.1", "DNS:vms.example.org"):
        assert each in told
    assert "IP Address:10.0.0.7" in told
    with pytest.raises(subprocess.CalledProcessError):
        verified(folder / "tls/ca.pem", folder / "people/server.pem")


def verified(authority: Path, certificate: Path) -> str:
    """Verify a certificate; the names in it."""
    subprocess.run(
        ["openssl", "verify", "-CAfile", str(authority), str(certificate)],
        check=True,
        capture_output=True,
    )
    command = ["openssl", "x509", "-in", str(certificate), "-noout", "-ext", "subjectAltName"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_docker_compose_understands_it(prepared: Path) -> None:
    if shutil.which("docker") is None or _asked("version").returncode:
        pytest.skip("no program: wants docker compose")
    done = _asked("-f", str(prepared / "compose.yaml"), "config", "--quiet")
    assert done.returncode == 0, done.stderr


def _asked(*words: str) -> subprocess.CompletedProcess[str]:
    command = ["docker", "compose", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)
