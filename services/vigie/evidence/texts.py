"""Fixed texts of a package, in French and English."""

from collections.abc import Iterator, Sequence
from typing import Final

from vigie.evidence.manifest import Camera, File, Weakness

README: Final = """\
FRANÇAIS
Ce paquet contient des images de vidéoprotection remises sur demande approuvée.
- report.html : le rapport, à ouvrir dans un navigateur (hors ligne).
- media/ : un fichier MP4 par caméra et par enregistrement ininterrompu, images telles que reçues
  de la caméra, sans transcodage ; lisible avec VLC, ffmpeg ou un navigateur.
- manifest.json : l'inventaire signé : empreintes SHA-256, complétude, chaîne de possession.
- manifest.json.p7s : la signature CMS détachée ; certificate.pem : le certificat du signataire.
Vérifier : vigie evidence verify CE_PAQUET, ou sans Vigie :
  openssl cms -verify -binary -inform DER -in manifest.json.p7s -content manifest.json \\
    -CAfile certificate.pem -purpose any
puis comparer les empreintes de manifest.json avec celles de sha256sum.
Comparez l'empreinte du certificat avec celle que publie l'exploitant : sans cela, la signature
prouve seulement que le paquet n'a pas changé depuis qu'il a été signé.

ENGLISH
This package holds video-protection footage released on an approved request.
- report.html: the report, to be opened in a browser (offline).
- media/: one MP4 file for each camera and uninterrupted recording, pictures as received from the
  camera, not transcoded; plays in VLC, ffmpeg or a browser.
- manifest.json: the signed inventory: SHA-256 digests, completeness, chain of custody.
- manifest.json.p7s: the detached CMS signature; certificate.pem: the signer's certificate.
Verify with: vigie evidence verify THIS_PACKAGE, or without Vigie by the openssl command above,
then compare the digests in manifest.json with those of sha256sum.
Compare the fingerprint of the certificate with the one the operator publishes: without that the
signature only proves that the package has not changed since it was signed.
"""

_ALWAYS: Final = (
    Weakness(
        code="TRUST_BEGINS_AT_RECEPTION",
        en="Trust begins where the stream is received: what happened in the camera or on the"
        " network before that is not proven by this package, unless the camera signs its stream.",
        fr="La confiance commence à la réception du flux : ce qui s'est passé dans la caméra ou sur"
        " le réseau avant n'est pas prouvé par ce paquet, sauf si la caméra signe son flux.",
    ),
    Weakness(
        code="TIME_IS_THE_RECEIVERS",
        en="Times are those of the receiver's clock when the least delayed frame arrived; the"
        " delay of camera and network is not subtracted.",
        fr="Les heures sont celles de l'horloge du récepteur à l'arrivée de l'image la moins"
        " retardée ; le délai de la caméra et du réseau n'est pas soustrait.",
    ),
    Weakness(
        code="WHOLE_KEY_FRAME_INTERVALS",
        en="Media files begin and end with whole key-frame intervals and may therefore show some"
        " seconds before and after the window.",
        fr="Les fichiers vidéo commencent et finissent par des intervalles entiers entre images"
        " clés et peuvent donc montrer quelques secondes avant et après la période.",
    ),
    Weakness(
        code="NO_TRUSTED_TIMESTAMP",
        en="The signature carries no trusted timestamp (RFC 3161); the time of signing is the"
        " statement of the signer.",
        fr="La signature ne porte pas d'horodatage qualifié (RFC 3161) ; l'heure de la signature"
        " est une déclaration du signataire.",
    ),
)


def weaknesses(statements: Sequence[Camera], files: Sequence[File]) -> Iterator[Weakness]:
    """What an expert for the defence should know about this very package."""
    yield from _ALWAYS
    for camera in statements:
        if camera.missing_us:
            seconds = camera.missing_us / 1_000_000
            yield Weakness(
                code="FOOTAGE_MISSING",
                en=f"{camera.camera}: {seconds:.3f} s of the window are missing; see the gaps.",
                fr=f"{camera.camera} : {seconds:.3f} s de la période manquent ; voir les lacunes.",
            )
    for file in files:
        if file.media is not None and all(
            segment.camera_clock_offset_us is None for segment in file.media.segments
        ):
            yield Weakness(
                code="CAMERA_CLOCK_UNKNOWN",
                en=f"{file.path}: the camera did not tell its clock.",
                fr=f"{file.path} : la caméra n'a pas donné son horloge.",
            )
