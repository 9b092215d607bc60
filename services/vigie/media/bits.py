"""Bits of an H.264/H.265 parameter set, after removal of the emulation prevention bytes."""

from typing import Final

from vigie.media.errors import MalformedMedia, MediaReason

# Real parameter sets have a few hundred bytes; the bound keeps reading hostile ones cheap.
MAX_PARAMETER_SET_BYTES: Final = 4096
_MAX_EXP_GOLOMB_ZEROS: Final = 32


def remove_emulation_prevention(data: bytes) -> bytes:
    """The raw byte sequence payload: each 00 00 03 becomes 00 00 (H.264 7.4.1, H.265 7.4.2)."""
    if b"\x00\x00\x03" not in data:
        return data
    out = bytearray()
    start = 0
    while (found := data.find(b"\x00\x00\x03", start)) >= 0:
        out += data[start : found + 2]
        start = found + 3
    out += data[start:]
    return bytes(out)


class BitReader:
    """Reads fixed-length and Exp-Golomb codes; running out of bits is a typed error."""

    __slots__ = ("_length", "_path", "_position", "_value")

    def __init__(self, nal: bytes, header_size: int, path: str) -> None:
        if len(nal) > MAX_PARAMETER_SET_BYTES:
            raise MalformedMedia(f"{len(nal)} bytes", 0, path, MediaReason.TOO_LARGE)
        payload = remove_emulation_prevention(nal[header_size:])
        self._value = int.from_bytes(payload, "big")
        self._length = len(payload) * 8
        self._position = 0
        self._path = path

    def bits(self, count: int) -> int:
        """The next ``count`` bits as an unsigned number, u(n)."""
        end = self._position + count
        if end > self._length:
            raise MalformedMedia(
                "ran out of bits", self._position // 8, self._path, MediaReason.TRUNCATED
            )
        self._position = end
        return (self._value >> (self._length - end)) & ((1 << count) - 1)

    def flag(self) -> bool:
        """The next bit."""
        return self.bits(1) == 1

    def skip(self, count: int) -> None:
        """Pass over ``count`` bits."""
        self.bits(count)

    def unsigned(self) -> int:
        """The next ue(v)."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > _MAX_EXP_GOLOMB_ZEROS:
                raise self.malformed("Exp-Golomb code longer than 32 bits")
        return (1 << zeros) - 1 + self.bits(zeros)

    def bounded(self, maximum: int, what: str) -> int:
        """The next ue(v), refused above ``maximum``."""
        value = self.unsigned()
        if value > maximum:
            raise self.malformed(f"{what} is {value}, at most {maximum} is allowed")
        return value

    def signed(self) -> int:
        """The next se(v)."""
        value = self.unsigned()
        return (value + 1) // 2 if value & 1 else -(value // 2)

    def malformed(self, message: str) -> MalformedMedia:
        """The error to raise about the value just read."""
        return MalformedMedia(message, self._position // 8, self._path)
