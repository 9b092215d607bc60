"""Draws the pictures of simulated cameras: a moving scene, a clock and number, and the blocks.

Pure Python on planes of bytes (I420), fast enough to feed an encoder: the ground is painted once
and each frame is a copy of it with a few rows overwritten.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from vigie.simcam.marks import BLOCK_ROWS, cell_size, draw_blocks

_GLYPH_WIDTH: Final = 5
_GLYPH_HEIGHT: Final = 7
_GLYPHS: Final[dict[str, tuple[int, ...]]] = {  # 7 rows of 5 pixels, bit 4 is the left one
    "0": (0x0E, 0x11, 0x11, 0x15, 0x11, 0x11, 0x0E),
    "1": (0x04, 0x0C, 0x14, 0x04, 0x04, 0x04, 0x1F),
    "2": (0x0E, 0x11, 0x01, 0x06, 0x08, 0x10, 0x1F),
    "3": (0x1E, 0x01, 0x01, 0x0E, 0x01, 0x01, 0x1E),
    "4": (0x11, 0x11, 0x11, 0x1F, 0x01, 0x01, 0x01),
    "5": (0x1F, 0x10, 0x10, 0x1E, 0x01, 0x01, 0x1E),
    "6": (0x0E, 0x10, 0x10, 0x1E, 0x11, 0x11, 0x0E),
    "7": (0x1F, 0x01, 0x02, 0x04, 0x04, 0x08, 0x08),
    "8": (0x0E, 0x11, 0x11, 0x0E, 0x11, 0x11, 0x0E),
    "9": (0x0E, 0x11, 0x11, 0x0F, 0x01, 0x01, 0x0E),
    ":": (0x00, 0x04, 0x04, 0x00, 0x04, 0x04, 0x00),
    ".": (0x00, 0x00, 0x00, 0x00, 0x00, 0x0C, 0x0C),
    "#": (0x0A, 0x0A, 0x1F, 0x0A, 0x1F, 0x0A, 0x0A),
    " ": (0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00),
}
_INK: Final = 235
_PAPER: Final = 16


@dataclass(frozen=True, slots=True)
class Scene:
    """What is drawn: size in pixels (even numbers), rate, and a seed for ground and texture."""

    width: int
    height: int
    frames_per_second: Fraction
    seed: int = 1


def clock_text(index: int, frames_per_second: Fraction) -> str:
    """Number and loop time of a frame as burnt into the picture: ``#000123 00:00:04.920``."""
    milliseconds = index * 1000 * frames_per_second.denominator // frames_per_second.numerator
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"#{index:06d} {hours:02d}:{minutes:02d}:{seconds:02d}.{milliseconds:03d}"


def draw_text(luma: bytearray, width: int, text: str, *, x: int, y: int, scale: int) -> None:
    """Burn ``text`` (digits, colon, point, hash, space) into a luma plane at pixel (x, y)."""
    ink, paper = bytes([_INK]) * scale, bytes([_PAPER]) * scale
    for row in range(_GLYPH_HEIGHT + 2):  # a row of paper above and below the glyphs
        line = paper + b"".join(
            b"".join(
                ink if 0 < row <= _GLYPH_HEIGHT and _GLYPHS[char][row - 1] >> shift & 1 else paper
                for shift in range(_GLYPH_WIDTH - 1, -1, -1)
            )
            + paper
            for char in text
        )
        for step in range(scale):
            start = (y + row * scale + step) * width + x
            luma[start : start + len(line)] = line


def _ground(scene: Scene) -> bytes:
    """Sky above, street below, with a facade of windows; luma then two chroma planes."""
    width, height = scene.width, scene.height
    luma = bytearray()
    pane = max(8, width // 24)
    facade = bytes(150 if (x // pane) % 3 else 70 for x in range(width))
    for y in range(height):
        if y < height // 3:
            luma += bytes([200 - 60 * y * 3 // height]) * width
        elif y < 2 * height // 3:
            luma += facade if (y // pane) % 2 else bytes([150]) * width
        else:
            luma += bytes([90 + 30 * (y - 2 * height // 3) * 3 // height]) * width
    tint = 118 + scene.seed % 20
    quarter = (width // 2) * (height // 2)
    return bytes(luma) + bytes([tint]) * quarter + bytes([256 - tint]) * quarter


def _texture(scene: Scene) -> bytes:
    """Grain in a band of the picture, so that an encoder reaches the bit rate it is asked for."""
    noise = random.Random(scene.seed).randbytes(scene.width * 64)  # noqa: S311 - a picture, no secret
    return noise.translate(bytes(96 + value // 4 for value in range(256)))


def draw_frames(scene: Scene, count: int) -> Iterator[bytearray]:
    """Yield ``count`` I420 frames (luma, U, V planes without padding)."""
    width, height = scene.width, scene.height
    ground, texture = _ground(scene), _texture(scene)
    generator = random.Random(scene.seed + 1)  # noqa: S311 - a picture, no secret
    scale = max(1, width // 240)
    text_y = BLOCK_ROWS * cell_size(width) + 8
    car_width, car_height = width // 6 & ~1, height // 8 & ~1
    car = bytes([40]) * (car_width // 3) + bytes([180]) * (car_width - car_width // 3)
    grain_rows = range(height - height // 6, height)
    for index in range(count):
        frame = bytearray(ground)
        for y in grain_rows:
            offset = generator.randrange(len(texture) - width)
            frame[y * width : (y + 1) * width] = texture[offset : offset + width]
        x = index * max(2, width // 160) % (width - car_width)
        top = height * 2 // 3 - car_height // 2
        for y in range(top, top + car_height):
            frame[y * width + x : y * width + x + car_width] = car
        draw_blocks(frame, width, index)
        text = clock_text(index, scene.frames_per_second)
        draw_text(frame, width, text, x=0, y=text_y, scale=scale)
        yield frame
