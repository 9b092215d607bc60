import errno
import socket
from collections.abc import Callable, Iterator

import pytest

from vigie.platform.listening import addresses_of, is_name

# For documentation (RFC 5737): of no machine.
ELSEWHERE = "192.0.2.1"
Named = Callable[..., None]


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Named:
    """Says what the name stands for."""

    def name(*addresses: str) -> None:
        found = [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                0,
                "",
                (address, 0),
            )
            for address in addresses
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: found)

    return name


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        yield other.getsockname()[1]


def test_what_is_a_name() -> None:
    assert [is_name(host) for host in ("127.0.0.1", "::", "::1", "localhost")] == [
        False,
        False,
        False,
        True,
    ]


def test_one_port_for_all_addresses() -> None:
    places = addresses_of("localhost", 0)
    assert "127.0.0.1" in {address for address, _ in places}
    (port,) = {port for _, port in places}
    assert port
    assert addresses_of("localhost", port) == places


def test_what_is_not_of_this_machine_is_left_out(named: Named) -> None:
    named(ELSEWHERE, "127.0.0.1")
    assert [address for address, _ in addresses_of("camera-net", 0)] == ["127.0.0.1"]
    named(ELSEWHERE)
    with pytest.raises(OSError, match="no address of this machine") as caught:
        addresses_of("camera-net", 0)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_a_port_taken_on_one_is_taken(named: Named, taken: int) -> None:
    named(ELSEWHERE, "127.0.0.1")
    with pytest.raises(OSError, match="in use") as caught:
        addresses_of("camera-net", taken)
    assert caught.value.errno == errno.EADDRINUSE


def test_an_address_of_a_link_keeps_its_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the machine's own name has it where no file of names says otherwise."""
    bound: list[object] = []
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("fe80::1", 0, 0, 7))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: found)
    monkeypatch.setattr(socket.socket, "bind", lambda _self, place: bound.append(place))
    monkeypatch.setattr(socket.socket, "listen", lambda _self, _backlog: None)
    monkeypatch.setattr(socket.socket, "getsockname", lambda _self: ("fe80::1", 443, 0, 7))
    assert addresses_of("myhost", 0) == (("fe80::1%7", 443),)
    assert bound == [("fe80::1%7", 0)]


@pytest.mark.parametrize("name", ["a..b", "x" * 64])
def test_what_is_no_name_is_an_error(name: str) -> None:
    with pytest.raises(OSError, match=r"label"):
        addresses_of(name, 443)


def test_an_unknown_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(OSError, match="not known"):
        addresses_of("camera-net", 0)
