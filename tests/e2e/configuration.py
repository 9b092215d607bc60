"""The configuration file of an installation under test."""

from collections.abc import Iterable, Mapping

from e2e.external import External
from ports import quiet_ports


def context_of(process: str) -> str:
    """What a process serves; a second one of the same has a number in its name."""
    return process.removesuffix("-2")


def find_places(processes: Iterable[str]) -> dict[str, str]:
    """Process -> a free address for other services; the gateway is not called by any."""
    names = [name for name in processes if context_of(name) != "gateway"]
    ports = quiet_ports(len(names))
    return {name: f"127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)}


def configuration(
    settings: Mapping[str, Mapping[str, str]],
    *,
    external: External | None,
    places: Mapping[str, str],
    certified: bool,
) -> str:
    """The content of the file: fast times, and addresses that the kernel chooses.

    Args:
        settings: section -> key -> TOML value; they have the last word.
        external: servers; ``None``: everything is embedded.
        places: of services that are processes of their own (`find_places`), else nothing.
        certified: these know each other by certificates, and not by tokens.
    """
    sections: dict[str, dict[str, str]] = {
        "data": {"directory": '"data"', "store_directory": '"store"'},
        "grpc": {"listen": '["127.0.0.1:0"]'},
        "http": {"listen": '"127.0.0.1:0"'},
        "access": {"people_file": '"people.toml"', "reload_seconds": "0.5"},
        "ingest": {
            "segment_seconds": "2",
            "silence_timeout_seconds": "2",
            "reconnect_longest_seconds": "1",
            "heartbeat_seconds": "1",
        },
    }
    if external is not None:
        sections |= external.sections()
    if places:
        sections["services"] = _services(places)
        # Processes that have data directories of their own share these.
        sections["data"] |= {"sealing_key_file": '"data/sealing.key"'}
        sections["access"] |= {"issuer_key_file": '"data/access/issuer-key.json"'}
    if certified:
        sections["tls"] = {
            "certificate_file": '"tls/{service}.pem"',
            "key_file": '"tls/{service}.key"',
            "ca_file": '"tls/ca.pem"',
        }
    for name, values in settings.items():
        sections.setdefault(name, {}).update(values)
    return "".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
        for name, values in sections.items()
    )


def _services(places: Mapping[str, str]) -> dict[str, str]:
    """The addresses of every service; where there are two of one, it has two."""
    lists: dict[str, list[str]] = {}
    for process, place in places.items():
        lists.setdefault(context_of(process), []).append(f'"{place}"')
    return {context: f"[{', '.join(listed)}]" for context, listed in lists.items()}
