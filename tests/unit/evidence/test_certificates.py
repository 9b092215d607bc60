"""The certificates in a signature are not signed: they must be those that the manifest signs."""

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from unit.evidence.conftest import (
    CUSTODY,
    GAP_SETTLE_US,
    NOW_US,
    FakeRecordings,
    OneCamera,
    approved,
)
from unit.evidence.test_cms import certificate
from unit.evidence.test_package import refused
from unit.media.recorded import START_US
from vigie.evidence.archive import PackageWriter
from vigie.evidence.builder import PackageBuilder
from vigie.evidence.cms import sign_detached
from vigie.evidence.manifest import SIGNATURE_NAME
from vigie.evidence.signer import Signer
from vigie.evidence.verify import verify_package
from vigie.platform.clock import ManualWallClock
from vigie.platform.objectstore.directory import DirectoryObjectStore

DER = serialization.Encoding.DER
OTHERS = tuple(certificate(ec.generate_private_key(ec.SECP256R1()), n) for n in (7, 8, 9))


async def package_of(
    signer: Signer, store: DirectoryObjectStore, recordings: FakeRecordings, path: Path
) -> bytes:
    """Builds a package and returns its manifest, as it was signed."""
    builder = PackageBuilder(
        store=store, recordings=recordings, cameras=OneCamera(), signer=signer,
        wall_clock=ManualWallClock(NOW_US), installation="Test", version="0",
        gap_settle_us=GAP_SETTLE_US,
    )  # fmt: skip
    request = approved(START_US, START_US + 2_000_000)
    built = await builder.build(request, CUSTODY, path, lambda _: None)
    return built.manifest.to_bytes()


def with_signature(path: Path, signature: bytes) -> Path:
    """The package with another signature file; canonical in every other respect."""
    target = path.with_name("altered.zip")
    target.unlink(missing_ok=True)
    manifest = verify_package(path).manifest
    with zipfile.ZipFile(path) as source, PackageWriter(target, manifest.created_time) as writer:
        for name in source.namelist():
            data = signature if name == SIGNATURE_NAME else source.read(name)
            writer.add(name, [data], size_bytes=len(data))
    return target


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_a_signature_carries_the_chain_and_nothing_else(
    signer: Signer,
    store: DirectoryObjectStore,
    recordings: FakeRecordings,
    tmp_path: Path,
    count: int,
) -> None:
    """A chain of any length verifies, in whatever order the operator wrote it."""
    for number, chain in enumerate(permutations(OTHERS[:count])):
        own = replace(signer, chain=chain)
        path = tmp_path / f"{number}.zip"
        manifest = await package_of(own, store, recordings, path)
        assert verify_package(path, trusted=[own.certificate]).trusted
        foreign = certificate(ec.generate_private_key(ec.SECP256R1()), 99)
        wrong: list[Sequence[x509.Certificate]] = [
            (*chain, foreign),
            (*chain, own.certificate),
            *([chain[1:], (*chain[1:], foreign)] if chain else []),
        ]
        for certificates in wrong:
            signature = sign_detached(manifest, own.key, own.certificate, tuple(certificates))
            found = refused(with_signature(path, signature))
            assert (found.reason, "other certificates" in found.detail) == (
                "SIGNATURE_INVALID",
                True,
            )
        # The signature that was made, nothing but a certificate put beside it by somebody who has
        # no key: RFC 5652 does not sign the certificates.
        with zipfile.ZipFile(path) as package:
            made = package.read(SIGNATURE_NAME)
        smuggled = with_certificates(made, (own.certificate, *chain), foreign)
        assert refused(with_signature(path, smuggled)).reason == "SIGNATURE_INVALID"


def element(tag: int, content: bytes) -> bytes:
    size = len(content)
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return (
        bytes([tag])
        + (bytes([size]) if size < 128 else bytes([128 | len(digits)]) + digits)
        + content
    )


def content_of(der: bytes) -> bytes:
    """The content of the one element in ``der``."""
    return der[2:] if der[1] < 128 else der[2 + (der[1] & 127) :]


def with_certificates(
    signature: bytes, own: Sequence[x509.Certificate], foreign: x509.Certificate
) -> bytes:
    """The same SignedData with one more certificate in its unsigned set."""
    old = element(0xA0, b"".join(sorted(each.public_bytes(DER) for each in own)))
    new = element(0xA0, b"".join(sorted(each.public_bytes(DER) for each in (*own, foreign))))
    assert signature.count(old) == 1
    outer = content_of(signature)
    kind, rest = outer[:11], outer[11:]
    data = content_of(content_of(rest)).replace(old, new)
    return element(0x30, kind + element(0xA0, element(0x30, data)))


async def test_certificates_out_of_order_are_refused(
    signer: Signer, store: DirectoryObjectStore, recordings: FakeRecordings, tmp_path: Path
) -> None:
    own = replace(signer, chain=OTHERS[:1])
    await package_of(own, store, recordings, tmp_path / "p.zip")
    with zipfile.ZipFile(tmp_path / "p.zip") as package:
        made = package.read(SIGNATURE_NAME)
    ordered = sorted(each.public_bytes(DER) for each in (own.certificate, *own.chain))
    assert made.count(b"".join(ordered)) == 1
    turned = made.replace(b"".join(ordered), b"".join(reversed(ordered)))
    found = refused(with_signature(tmp_path / "p.zip", turned))
    assert found.reason in {"SIGNATURE_INVALID", "SIGNATURE_MALFORMED"}
