"""What ffmpeg, a reader that is not ours, says of a file."""

import subprocess
from pathlib import Path

import imageio_ffmpeg


def complaints_about(path: Path) -> str:
    """Warnings and errors of decoding the whole file: nothing, when all is well.

    Pictures are counted in the file's own clock. By default ffmpeg would count those it writes (to
    nowhere) in whole periods of the frame rate, and two pictures that lie on either side of half a
    period would collide there, whatever the file says.
    """
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-loglevel", "warning",
        "-i", str(path), "-enc_time_base", "demux", "-f", "null", "-",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.stderr + ("" if done.returncode == 0 else f" exit {done.returncode}")


def complaints(data: bytes, folder: Path) -> str:
    """The same of bytes, written to a file in ``folder`` first."""
    path = folder / "file.mp4"
    path.write_bytes(data)
    return complaints_about(path)
