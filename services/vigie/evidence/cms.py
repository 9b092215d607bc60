"""Detached CMS signatures (RFC 5652): made by cryptography, read back strictly here.

The signature covers the manifest; the manifest covers everything else. Signing lives in a library.
Reading is small enough to own, and must be strict: what is not understood is refused, and nothing
is trusted because it happens to parse.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509 import ObjectIdentifier

from vigie.evidence.rejection import RejectedError

SigningKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_SIGNED_DATA: Final = ObjectIdentifier("1.2.840.113549.1.7.2")
_DATA: Final = ObjectIdentifier("1.2.840.113549.1.7.1")
_CONTENT_TYPE: Final = ObjectIdentifier("1.2.840.113549.1.9.3")
_MESSAGE_DIGEST: Final = ObjectIdentifier("1.2.840.113549.1.9.4")
# DER of AlgorithmIdentifier{sha256} begins with this OBJECT IDENTIFIER; parameters may be NULL.
_SHA256_OID_DER: Final = bytes.fromhex("0609608648016503040201")
_SHA256_FORMS: Final = (
    b"\x30\x0b" + _SHA256_OID_DER,
    b"\x30\x0d" + _SHA256_OID_DER + b"\x05\x00",
)
_SIGNATURE_FORMS: Final = (
    bytes.fromhex("300a06082a8648ce3d040302"),  # ecdsa-with-SHA256 (RFC 5758)
    bytes.fromhex("300d06092a864886f70d0101010500"),  # rsaEncryption (RFC 3370)
    bytes.fromhex("300d06092a864886f70d01010b0500"),  # sha256WithRSAEncryption (RFC 5754)
)
_SET_OF_TAG: Final = 0x31


@asn1.sequence
class _ContentInfo:
    content_type: ObjectIdentifier
    content: Annotated[asn1.TLV, asn1.Explicit(0)]


@asn1.sequence
class _EncapsulatedContent:
    content_type: ObjectIdentifier
    content: Annotated[bytes | None, asn1.Explicit(0)]


@asn1.sequence
class _Attribute:
    type: ObjectIdentifier
    values: asn1.SetOf[asn1.TLV]


@asn1.sequence
class _IssuerAndSerial:
    issuer: asn1.TLV
    serial: int


@asn1.sequence
class _SignerInfo:
    version: int
    signer: _IssuerAndSerial
    digest_algorithm: asn1.TLV
    signed_attributes: Annotated[asn1.SetOf[_Attribute], asn1.Implicit(0)]
    signature_algorithm: asn1.TLV
    signature: bytes
    unsigned_attributes: Annotated[asn1.SetOf[_Attribute] | None, asn1.Implicit(1)]


@asn1.sequence
class _SignedData:
    version: int
    digest_algorithms: asn1.SetOf[asn1.TLV]
    encapsulated: _EncapsulatedContent
    certificates: Annotated[asn1.SetOf[asn1.TLV] | None, asn1.Implicit(0)]
    signers: asn1.SetOf[_SignerInfo]


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that holds.

    Attributes:
        certificate: of the signer; whether it is to be trusted is for the caller to say.
        certificates: all that travel with the signature, in their order. They are not signed: the
            caller must know each of them, or they are room for anything.
    """

    certificate: x509.Certificate
    certificates: tuple[x509.Certificate, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, lower-case hexadecimal: what people compare."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()


def sign_detached(
    content: bytes,
    key: SigningKey,
    certificate: x509.Certificate,
    chain: tuple[x509.Certificate, ...] = (),
) -> bytes:
    """DER of a detached CMS SignedData over ``content`` (SHA-256, certificates included)."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
    builder = builder.add_signer(certificate, key, hashes.SHA256())
    for issuer in chain:
        builder = builder.add_certificate(issuer)
    options = [
        pkcs7.PKCS7Options.DetachedSignature,
        pkcs7.PKCS7Options.Binary,
        pkcs7.PKCS7Options.NoCapabilities,
    ]
    return builder.sign(serialization.Encoding.DER, options)


def verify_detached(signature: bytes, content: bytes) -> Signature:
    """Check a detached CMS signature over ``content`` (RFC 5652, section 5.6).

    Raises:
        RejectedError: SIGNATURE_MALFORMED or SIGNATURE_INVALID, naming what is wrong.
    """
    try:
        signed = _read(signature)
        certificates = [
            x509.load_der_x509_certificate(_element(tlv))
            for tlv in (signed.certificates.as_list() if signed.certificates else [])
        ]
        signer = signed.signers.as_list()[0]
        certificate = _certificate_of(signer, certificates)
    except (ValueError, TypeError, x509.InvalidVersion) as error:
        raise RejectedError("SIGNATURE_MALFORMED", f"not a CMS signature: {error}") from error
    _check_attributes(signer, content)
    _check_signature(signer, certificate)
    return Signature(certificate, tuple(certificates))


def _read(signature: bytes) -> _SignedData:
    outer = asn1.decode_der(_ContentInfo, signature)
    if outer.content_type != _SIGNED_DATA:
        raise ValueError("content type is not SignedData")
    signed: _SignedData = outer.content.parse(_SignedData)
    if signed.encapsulated.content_type != _DATA or signed.encapsulated.content is not None:
        raise ValueError("the signature is not detached over plain data")
    if len(signed.signers.as_list()) != 1:
        raise ValueError("exactly one signer is expected")
    _check_unsigned_parts(signed)
    return signed


def _check_unsigned_parts(signed: _SignedData) -> None:
    """What the signature does not cover must be the one form this product writes.

    RFC 5652 leaves versions and algorithm identifiers unsigned; a verifier that passed over them
    would accept an altered file.
    """
    signer = signed.signers.as_list()[0]
    digests = [_element(each) for each in signed.digest_algorithms.as_list()]
    if (signed.version, signer.version) != (1, 1) or signer.unsigned_attributes is not None:
        raise ValueError("versions or attributes of another kind")
    if digests != [_element(signer.digest_algorithm)] or digests[0] not in _SHA256_FORMS:
        raise ValueError("the digest algorithms are not SHA-256 alone")
    if _element(signer.signature_algorithm) not in _SIGNATURE_FORMS:
        raise ValueError("a signature algorithm of another kind")


def _element(tlv: asn1.TLV) -> bytes:
    """The whole DER element of ``tlv``: its tag and length, then its content."""
    size = len(tlv.data)
    if size < 0x80:  # noqa: PLR2004 - DER short form of a length
        length = bytes([size])
    else:
        digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
        length = bytes([0x80 | len(digits)]) + digits
    return bytes(tlv.tag_bytes) + length + bytes(tlv.data)


def _certificate_of(signer: _SignerInfo, certificates: list[x509.Certificate]) -> x509.Certificate:
    for certificate in certificates:
        same_issuer = certificate.issuer.public_bytes() == _element(signer.signer.issuer)
        if same_issuer and certificate.serial_number == signer.signer.serial:
            return certificate
    raise RejectedError("SIGNATURE_INVALID", "the signer's certificate is not in the signature")


def _check_attributes(signer: _SignerInfo, content: bytes) -> None:
    """Content type and message digest must be among the signed attributes, once each."""
    if not bytes(signer.digest_algorithm.data).startswith(_SHA256_OID_DER):
        raise RejectedError("SIGNATURE_INVALID", "the digest algorithm is not SHA-256")
    values: dict[ObjectIdentifier, bytes] = {}
    for attribute in signer.signed_attributes.as_list():
        elements = attribute.values.as_list()
        if attribute.type in values or len(elements) != 1:
            raise RejectedError("SIGNATURE_INVALID", "a signed attribute is repeated")
        values[attribute.type] = bytes(elements[0].data)
    if values.get(_CONTENT_TYPE) != asn1.encode_der(_DATA)[2:]:
        raise RejectedError("SIGNATURE_INVALID", "the signed content type is not plain data")
    digest = hashes.Hash(hashes.SHA256())
    digest.update(content)
    if values.get(_MESSAGE_DIGEST) != digest.finalize():
        raise RejectedError("SIGNATURE_INVALID", "the manifest is not the one that was signed")


def _check_signature(signer: _SignerInfo, certificate: x509.Certificate) -> None:
    # RFC 5652, 5.4: what is signed is the SET OF encoding, not the [0] it travels under.
    signed = asn1.encode_der(signer.signed_attributes)
    if signed[0] != _SET_OF_TAG:
        raise RejectedError("SIGNATURE_MALFORMED", "signed attributes cannot be encoded")
    try:
        key = certificate.public_key()
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signer.signature, signed, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signer.signature, signed, padding.PKCS1v15(), hashes.SHA256())
        else:
            raise RejectedError("SIGNATURE_INVALID", "the kind of the signer's key is not accepted")
    except InvalidSignature as error:
        raise RejectedError(
            "SIGNATURE_INVALID", "the signature does not fit its content"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RejectedError("SIGNATURE_MALFORMED", f"the signer's key: {error}") from error
