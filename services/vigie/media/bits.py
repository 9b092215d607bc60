"""Bits of an H.264/H.265 parameter set, after removal of the emulation prevention bytes."""

from typing import Final

from vigie.media.errors import MalformedMedia, MediaReason

# Real parameter sets have some ten to a few hundred bytes. The largest that make sense carry all
# scaling lists: 224 coefficients in H.264 (480 bytes when each has its longest code, 1020 in
# 4:4:4), 992 in H.265 (some 700 bytes as encoders code them); VUI, HRD and reference picture sets
# add less than 400. Twice that is allowed; a camera may make us keep 31 of them.
MAX_PARAMETER_SET_BYTES: Final = 2048
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
    """Reads fixed-length and Exp-Golomb codes; running out of bits is a typed error.

    The bits are a text of 0 and 1: shifting one long number would cost its length for each code,
    and a hostile set has thousands of codes.
    """

    __slots__ = ("_bits", "_path", "_position")

    def __init__(self, nal: bytes, header_size: int, path: str) -> None:
        if len(nal) > MAX_PARAMETER_SET_BYTES:
            raise MalformedMedia(f"{len(nal)} bytes", 0, path, MediaReason.TOO_LARGE)
        payload = remove_emulation_prevention(nal[header_size:])
        number = int.from_bytes(b"\1" + payload, "big")  # the 1 in front keeps leading zeros
        self._bits = f"{number:b}"[1:]
        self._position = 0
        self._path = path

    def bits(self, count: int) -> int:
        """The next ``count`` bits as an unsigned number, u(n)."""
        start = self._position
        self.skip(count)
        return int(self._bits[start : self._position], 2) if count else 0

    def flag(self) -> bool:
        """The next bit."""
        position = self._position
        self.skip(1)
        return self._bits[position] == "1"

    def skip(self, count: int) -> None:
        """Pass over ``count`` bits."""
        end = self._position + count
        if end > len(self._bits):
            raise MalformedMedia(
                "ran out of bits", self._position // 8, self._path, MediaReason.TRUNCATED
            )
        self._position = end

    def unsigned(self) -> int:
        """The next ue(v)."""
        start = self._position
        end = self._bits.find("1", start, start + _MAX_EXP_GOLOMB_ZEROS + 1)
        if end < 0:
            self.skip(_MAX_EXP_GOLOMB_ZEROS + 1)
            raise self.malformed("Exp-Golomb code longer than 32 bits")
        self._position = end
        return self.bits(end - start + 1) - 1

    def skip_codes(self, count: int) -> None:
        """Pass over ``count`` codes, ue(v) or se(v)."""
        for _ in range(count):
            end = self._bits.find("1", self._position, self._position + _MAX_EXP_GOLOMB_ZEROS + 1)
            if end < 0:
                self.unsigned()  # says what is wrong
            self.skip(2 * (end - self._position) + 1)

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
