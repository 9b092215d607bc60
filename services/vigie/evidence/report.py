"""The report for people: one HTML page, French and English, no script, nothing loaded from outside.

Everything a reader needs to judge the package without tools: what was asked, by whom, who let it
go, what is there, what is missing and why, what the clocks said, and how to verify.
"""

import html
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from vigie.evidence.manifest import Camera, File, Manifest

_STYLE: Final = """
:root { color-scheme: light; --ink: #1b2430; --soft: #5a6675; --line: #d7dde5; --ok: #1f7a4d;
  --gap: #b3261e; --paper: #ffffff; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2.5rem 1.5rem 4rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem;
  border-bottom: 2px solid var(--ink); padding-bottom: .25rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
.soft, .fr + .en { color: var(--soft); } .en { font-style: italic; }
table { border-collapse: collapse; width: 100%; margin: .4rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0;
  border-bottom: 1px solid var(--line); } th { font-weight: 600; }
td.hash, code { font: 12px/1.4 ui-monospace, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }
.bar { display: flex; height: 1.4rem; border: 1px solid var(--line); margin: .3rem 0; }
.bar span { display: block; min-width: 1px; } .stored { background: var(--ok); }
.missing { background: repeating-linear-gradient(45deg, var(--gap) 0 4px, #f3c6c3 4px 8px); }
.gap { color: var(--gap); font-weight: 600; }
@media print { body { padding: 0; } h2 { break-after: avoid; } tr { break-inside: avoid; } }
"""

CAUSES: Final[dict[str, tuple[str, str]]] = {
    "CAMERA_UNREACHABLE": ("caméra injoignable", "camera unreachable"),
    "CREDENTIALS_REFUSED": ("identifiants refusés par la caméra", "credentials refused"),
    "CAMERA_SILENT": ("caméra muette", "camera silent"),
    "CLOSED_BY_CAMERA": ("connexion fermée par la caméra", "closed by the camera"),
    "PACKETS_LOST": ("paquets perdus", "packets lost"),
    "STREAM_UNSUPPORTED": ("flux non pris en charge", "stream unsupported"),
    "CLOCK_JUMP": ("saut d'horloge", "clock jump"),
    "INGEST_DOWN": ("réception arrêtée", "reception was down"),
    "SPOOL_FULL": ("disque tampon plein", "spool full"),
    "STORE_REFUSED": ("stockage refusé", "store refused"),
    "NOT_AUTHORISED": ("aucune autorisation en vigueur", "no authorisation in force"),
    "SUSPENDED": ("caméra suspendue", "camera suspended"),
    "NOT_IN_SERVICE": ("caméra hors service", "camera not in service"),
    "DESTROYED": ("détruit au terme de la conservation", "destroyed at the end of its retention"),
}
"""Gap causes for people: French, English."""

Row = tuple[str, str, str]


def render_report(manifest: Manifest) -> bytes:
    """The page, UTF-8. ``manifest`` need not list the report itself."""
    request = manifest.request
    parts = [
        '<!doctype html><html lang="fr"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{_e(request.name)}</title><style>{_STYLE}</style></head><body>",
        "<h1>Rapport de preuve vidéo <span class=en>/ Video evidence report</span></h1>",
        (
            f"<p class=soft>{_e(manifest.issuer.installation)} · <code>{_e(request.name)}</code> · "
            f"{_time(manifest.created_time)}</p>"
        ),
        *_request(manifest),
        *_cameras(manifest),
        *_files(manifest),
        *_custody(manifest),
        *_weaknesses(manifest),
        *_how_to_verify(manifest),
        "</body></html>\n",
    ]
    return "\n".join(parts).encode()


def _e(text: str) -> str:
    return html.escape(text, quote=True)


def _time(value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"


def _seconds(duration_us: int) -> str:
    return f"{duration_us / 1_000_000:,.3f} s".replace(",", " ")


def _heading(french: str, english: str) -> str:
    return f"<h2>{_e(french)} <span class=en>/ {_e(english)}</span></h2>"


def _table(rows: Iterable[Row]) -> str:
    body = "".join(
        f"<tr><th>{_e(french)}<br><span class=en>{_e(english)}</span></th><td>{value}</td></tr>"
        for french, english, value in rows
    )
    return f"<table>{body}</table>"


def _request(manifest: Manifest) -> list[str]:
    request = manifest.request
    rows: list[Row] = [
        ("Période", "Window", f"{_time(request.window.start)} → {_time(request.window.end)}"),
        ("Caméras", "Cameras", ", ".join(_e(camera) for camera in request.cameras)),
        ("Motif", "Purpose", _e(request.purpose)),
        ("Procédure", "Case", _e(request.case_reference)),
        ("Base légale", "Legal basis", _e(request.legal_basis)),
        (
            "Demandé par",
            "Requested by",
            (
                f"{_e(request.requester.display_name)} ({_e(request.requester.agency)}), "
                f"{_time(request.requested_time)}"
            ),
        ),
        (
            "Approuvé par",
            "Approved by",
            (
                f"{_e(request.approver.display_name)} ({_e(request.approver.agency)}), "
                f"{_time(request.approved_time)} : {_e(request.approval_reason)}"
            ),
        ),
    ]
    return [_heading("Demande", "Request"), _table(rows)]


def _cameras(manifest: Manifest) -> list[str]:
    parts = [_heading("Complétude", "Completeness")]
    parts.append(
        "<p>Chaque instant demandé est présent, ou manque pour une cause nommée. "
        "<span class=en>Every instant asked for is there, or is missing for a named cause.</span>"
        "</p>"
    )
    for camera in manifest.cameras:
        parts += _camera(camera)
    return parts


def _camera(camera: Camera) -> list[str]:
    bar = "".join(
        f'<span class="{interval.state.lower()}" style="flex:'
        f'{(interval.end - interval.start).total_seconds():.6f} 0 0" title="{_e(interval.cause)}">'
        "</span>"
        for interval in camera.intervals
    )
    stood = " → ".join(_e(zone) for zone in camera.zones or (camera.zone,))
    share = 100 * camera.stored_us / max(1, camera.requested_us)
    parts = [
        f"<h3>{_e(camera.display_name)} <code>{_e(camera.camera)}</code></h3>",
        f"<p class=soft>zone : {stood}</p>",
        f'<div class="bar">{bar}</div>',
        (
            f"<p>{share:.3f} % · présent <span class=en>stored</span> "
            f"{_seconds(camera.stored_us)} · "
            f"manquant <span class=en>missing</span> {_seconds(camera.missing_us)}</p>"
        ),
    ]
    gaps = [interval for interval in camera.intervals if interval.state == "MISSING"]
    if gaps:
        rows = "".join(
            f"<tr><td>{_time(gap.start)}</td><td>{_time(gap.end)}</td><td class=gap>"
            f"{_e(CAUSES.get(gap.cause, (gap.cause, gap.cause))[0])}<br><span class=en>"
            f"{_e(CAUSES.get(gap.cause, (gap.cause, gap.cause))[1])}</span></td>"
            f"<td>{_e(gap.detail)}</td></tr>"
            for gap in gaps
        )
        parts.append(
            "<table><tr><th>de <span class=en>from</span></th><th>à <span class=en>to</span></th>"
            "<th>cause</th><th>détail <span class=en>detail</span></th></tr>" + rows + "</table>"
        )
    return parts


def _files(manifest: Manifest) -> list[str]:
    parts = [_heading("Fichiers", "Files"), "<table>"]
    parts += [
        f"<tr><td><code>{_e(file.path)}</code>{_media(file)}</td>"
        f'<td>{file.size_bytes:,}</td><td class="hash">{file.sha256}</td></tr>'
        for file in manifest.files
    ]
    parts.append("</table>")
    return parts


def _media(file: File) -> str:
    media = file.media
    if media is None:
        return ""
    offsets = [
        segment.camera_clock_offset_us
        for segment in media.segments
        if segment.camera_clock_offset_us is not None
    ]
    clock = (
        f"horloge de la caméra <span class=en>camera clock</span> {min(offsets) / 1e6:+.3f} s "
        f"… {max(offsets) / 1e6:+.3f} s"
        if offsets
        else "horloge de la caméra inconnue <span class=en>camera clock unknown</span>"
    )
    return (
        f"<br><span class=soft>{_time(media.start)} → {_time(media.end)} · {_e(media.codec)} "
        f"{media.width} x {media.height} · {len(media.segments)} segments · {clock}</span>"
    )


def _custody(manifest: Manifest) -> list[str]:
    rows = "".join(
        f"<tr><td>{_time(step.time)}</td><td>{_e(step.display_name or step.actor)}</td>"
        f"<td>{_e(step.action)}</td><td>{_e(step.detail)}</td></tr>"
        for step in manifest.custody
    )
    return [_heading("Chaîne de possession", "Chain of custody"), f"<table>{rows}</table>"]


def _weaknesses(manifest: Manifest) -> list[str]:
    items = "".join(
        f"<li>{_e(each.fr)}<br><span class=en>{_e(each.en)}</span></li>"
        for each in manifest.weaknesses
    )
    title = _heading("Ce qu'il faut savoir avant d'y croire", "What to know before relying on it")
    return [title, f"<ul>{items}</ul>"]


def _how_to_verify(manifest: Manifest) -> list[str]:
    commands = (
        "vigie evidence verify PAQUET.zip --certificate certificate.pem\n"
        "openssl cms -verify -binary -inform DER -in manifest.json.p7s "
        "-content manifest.json -CAfile certificate.pem -purpose any\n"
        "sha256sum *"
    )
    return [
        _heading("Vérifier", "Verify"),
        "<p>Hors ligne, sans ce service. <span class=en>Offline, without this service.</span></p>",
        f"<pre><code>{_e(commands)}</code></pre>",
        (
            "<p>Empreinte du certificat du signataire, à comparer avec celle publiée par "
            "l'exploitant <span class=en>fingerprint of the signer's certificate, to be compared "
            f"with the published one</span> : <code>{manifest.issuer.signer_fingerprint}</code></p>"
        ),
    ]
