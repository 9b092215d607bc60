import datetime as dt
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from long_forms import examples
from vigie.evidence.cms import SigningKey, sign_detached, verify_detached
from vigie.evidence.rejection import RejectedError

CONTENT = b'{"request": "evidenceRequests/x"}'


def certificate(key: SigningKey, serial: int = 5) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer")])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(serial)
    builder = builder.not_valid_before(start).not_valid_after(start + dt.timedelta(days=3650))
    return builder.sign(key, hashes.SHA256())


KEYS: dict[str, SigningKey] = {
    "ec": ec.generate_private_key(ec.SECP256R1()),
    "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
}
SIGNED = sign_detached(CONTENT, KEYS["ec"], certificate(KEYS["ec"]))


@pytest.mark.parametrize("kind", KEYS)
def test_a_signature_holds_and_names_its_signer(kind: str) -> None:
    cert = certificate(KEYS[kind])
    found = verify_detached(sign_detached(CONTENT, KEYS[kind], cert), CONTENT)
    assert found.certificate == cert
    assert found.fingerprint == cert.fingerprint(hashes.SHA256()).hex()


def test_other_content_is_refused() -> None:
    with pytest.raises(RejectedError, match="not the one that was signed"):
        verify_detached(SIGNED, CONTENT + b" ")


def test_a_signature_by_another_key_under_the_same_name_is_refused() -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    theirs, own = certificate(other), certificate(KEYS["rsa"])
    encoded = [each.public_bytes(serialization.Encoding.DER) for each in (theirs, own)]
    assert len(encoded[0]) == len(encoded[1])
    forged = sign_detached(CONTENT, other, theirs).replace(*encoded)
    assert encoded[1] in forged
    with pytest.raises(RejectedError, match="SIGNATURE_INVALID"):
        verify_detached(forged, CONTENT)


@settings(max_examples=examples(150), deadline=None)
@given(st.integers(0, len(SIGNED) * 8 - 1))
def test_no_flipped_bit_changes_who_signed_what(bit: int) -> None:
    """A flip is refused, or it hit what RFC 5652 leaves unsigned and the key is still the same."""
    flipped = bytearray(SIGNED)
    flipped[bit // 8] ^= 1 << (bit % 8)
    try:
        found = verify_detached(bytes(flipped), CONTENT)
    except RejectedError:
        return
    assert found.certificate.public_key() == KEYS["ec"].public_key()


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_malformed(noise: bytes) -> None:
    with pytest.raises(RejectedError):
        verify_detached(noise, CONTENT)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
@pytest.mark.parametrize("kind", KEYS)
def test_openssl_agrees(kind: str, tmp_path: Path) -> None:
    cert = certificate(KEYS[kind])
    (tmp_path / "s").write_bytes(sign_detached(CONTENT, KEYS[kind], cert))
    (tmp_path / "c").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "m").write_bytes(CONTENT)
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "s"]
    command += ["-content", "m", "-CAfile", "c", "-purpose", "any"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == CONTENT
