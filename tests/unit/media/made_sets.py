"""Parameter sets and slices made bit by bit, to say which refers to which."""

from vigie.media.codec import VideoCodec


def ue(value: int) -> str:
    """An Exp-Golomb code."""
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits


def nal(head: bytes, bits: str) -> bytes:
    """A NAL unit of these bits; they must not need emulation prevention."""
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    return head + int(bits, 2).to_bytes(len(bits) // 8, "big")


def sps(codec: VideoCodec, number: int, width: int, height: int, references: str = ue(0)) -> bytes:
    """A sequence parameter set without reordering.

    ``references``: number and content of the short-term reference picture sets of H.265.
    """
    if codec is VideoCodec.H264:
        size = ue(width // 16 - 1) + ue(height // 16 - 1)
        bits = ue(number) + ue(0) + ue(2) + ue(1) + "0" + size + "1" + "1" + "0" + "0"
        return nal(bytes((0x67, 66, 0xC0, 30)), bits)
    profile = "00100001" + "01" * 16 + "01" * 24 + f"{93:08b}"
    bits = "0000" + "000" + "1" + profile + ue(number) + ue(1) + ue(width) + ue(height)
    bits += "0" + ue(0) * 2 + ue(4) + "1" + ue(4) + ue(0) * 2
    bits += ue(0) + ue(3) + ue(0) + ue(3) + ue(0) * 2 + "0" + "00" + "0"
    bits += references + "0" + "00" + "0"
    return nal(b"\x42\x01", bits)


def pps(codec: VideoCodec, number: int, sps_number: int) -> bytes:
    """A picture parameter set."""
    head = b"\x68" if codec is VideoCodec.H264 else b"\x44\x01"
    return nal(head, ue(number) + ue(sps_number) + "1" * 20)


def vps() -> bytes:
    """A video parameter set; its number is 0."""
    return b"\x40\x01\x0c\x01\xff\xff"


def key_slice(codec: VideoCodec, pps_number: int) -> bytes:
    """The only slice of a key frame."""
    if codec is VideoCodec.H264:
        return nal(b"\x65", ue(0) + ue(7) + ue(pps_number) + "10" * 40)
    return nal(b"\x26\x01", "1" + "0" + ue(pps_number) + "10" * 40)


def other_slice(codec: VideoCodec) -> bytes:
    """The only slice of another frame."""
    return b"\x41\x9a\x11\x55" if codec is VideoCodec.H264 else b"\x02\x01\xd0\x55"
