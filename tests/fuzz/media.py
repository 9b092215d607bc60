"""The media of a camera: RTP, RTCP, NAL units, parameter sets, depacketisers."""

import base64
from collections.abc import Sequence
from typing import Final

from fuzz.draw import Draw
from fuzz.packets import (
    DELIMITER,
    PAYLOAD_TYPE,
    SETS,
    Frame,
    Packetiser,
    WildCamera,
    frame,
    interleave,
)
from fuzz.target import Target, promise
from vigie.media import annexb, h264, rtcp
from vigie.media.access_unit import RULES
from vigie.media.bmff.header import build_header, content_type
from vigie.media.bmff.reader import read_header
from vigie.media.codec import MAX_DIMENSION, VideoCodec
from vigie.media.depacketize import Depacketizer, make_depacketizer
from vigie.media.errors import MediaError
from vigie.media.gop import Discontinuity, Gop, Limits
from vigie.media.parameters import (
    ParameterSetCollector,
    ParameterSets,
    parameter_sets_from_fmtp,
)
from vigie.media.rtp import Unwrapper, build_packet, parse_header

_H264: Final = VideoCodec.H264
_H265: Final = VideoCodec.H265
_PACKET_BYTES: Final = 65_535
_LONGER: Final = 0xC0  # one input of four
SMALL: Final = Limits(
    access_unit_bytes=1500, nal_units_per_access_unit=20, gop_bytes=4000, gop_samples=24
)


# --- RTP and RTCP ------------------------------------------------------------------------------


def _rtp(data: bytes) -> None:
    offset = data[0] % 8 if data else 0
    length = len(data) - offset - (data[1] % 3 if len(data) > 1 else 0)
    unwrapper = Unwrapper(16)
    last = unwrapper.unwrap(0)
    for at in range(0, min(len(data) - 1, 64), 2):
        raw = int.from_bytes(data[at : at + 2])
        now = unwrapper.unwrap(raw)
        promise(now & 0xFFFF == raw and abs(now - last) <= 0x8000, "the nearest is taken")
        last = now
    header = parse_header(data, offset, length)
    promise(
        offset + 12 <= header.payload_start <= header.payload_end <= offset + length,
        "the payload lies in the packet",
    )
    payload = data[header.payload_start : header.payload_end]
    again = build_packet(
        payload, payload_type=header.payload_type, marker=header.marker,
        sequence=header.sequence, timestamp=header.timestamp, ssrc=header.ssrc,
    )  # fmt: skip
    same = parse_header(again, 0, len(again))
    promise(same[:5] == header[:5] and again[same.payload_start :] == payload, "built and read")


def _rtcp(data: bytes) -> None:
    draw = Draw(data)
    wall_us = draw.number(8) % (1 << 52)
    near = rtcp.ntp_to_unix_us(rtcp.unix_us_to_ntp(wall_us)) if wall_us >> 51 == 0 else wall_us
    promise(abs(near - wall_us) <= 1 or wall_us >= 4_233_462_144_000_000, "times go and come back")
    report = rtcp.ReceptionReport(
        draw.number(4), draw.number(5), draw.signed(4), draw.byte() / 200, draw.number(5),
        draw.number(8), draw.number(8),
    )  # fmt: skip
    made = rtcp.build_receiver_report(draw.number(4), "vigie", report)
    promise(len(rtcp.parse_compound(made, 0, len(made))) == 2, "a report is a compound")
    sent = rtcp.build_sender_report(
        7, "c" * draw.byte(), wall_us=wall_us, rtp_timestamp=draw.number(5), packets=draw.number(5),
        octets=draw.number(5),
    )  # fmt: skip
    first = rtcp.parse_compound(sent, 0, len(sent))[0]
    promise(isinstance(first, rtcp.SenderReport) and first.ssrc == 7, "built and read")
    rest = draw.rest()
    for packet in rtcp.parse_compound(rest, 0, len(rest)):
        if isinstance(packet, rtcp.SenderReport) and packet.wall_us is not None:
            back = rtcp.unix_us_to_ntp(packet.wall_us)
            apart = (back - packet.ntp) % (1 << 64)
            promise(min(apart, (1 << 64) - apart) < 8600, "no time is off by more than 2 us")


# --- NAL units and parameter sets --------------------------------------------------------------


def _nal(data: bytes) -> None:
    units = annexb.nal_units(data)
    prefixed = b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)
    promise([bytes(unit) for unit in annexb.split(prefixed)] == units, "split is what was joined")
    stream = annexb.to_annexb(prefixed)
    promise(len(stream) == len(prefixed), "a start code for a length")
    for unit in units:
        if unit[0] & 0x1F == h264.SEI:
            count = h264.recovery_frame_count(unit)
            promise(count is None or 0 <= count < 1 << 33, "a count")
    pieces = list(annexb.split(data))
    promise(sum(len(piece) + 4 for piece in pieces) == len(data), "nothing is left out")


def _parameters(codec: VideoCodec, data: bytes) -> None:
    draw = Draw(data)
    nals = []
    while draw.more and len(nals) < 40:
        size = draw.number(2) % 600
        nals.append(draw.take(size))
    collector = ParameterSetCollector(codec)
    for nal in nals:
        try:
            collector.add(nal)
        except MediaError:
            continue
    sets = collector.current()
    names = ("sprop-parameter-sets",) if codec is _H264 else ("sprop-vps", "sprop-sps", "sprop-pps")
    kinds = (sets.sps + sets.pps,) if codec is _H264 else (sets.vps, sets.sps, sets.pps)
    format_parameters = {
        name: ",".join(base64.b64encode(nal).decode() for nal in kind)
        for name, kind in zip(names, kinds, strict=True)
    }
    promise(
        (parameter_sets_from_fmtp(codec, format_parameters) or ParameterSets(codec, (), (), ()))
        == sets,
        "the same from the description",
    )
    _check_configuration(sets)


def _check_configuration(sets: ParameterSets) -> None:
    configuration = sets.configuration
    promise(0 < configuration.width <= 2 * MAX_DIMENSION, "a width")
    promise(0 < configuration.height <= 2 * MAX_DIMENSION, "a height")
    promise(ParameterSets.from_configuration(sets.codec, configuration.record) == sets, "record")
    promise(content_type(configuration).isprintable(), "a media type")
    header = read_header(build_header(configuration, presentation_delay=3600))
    promise(header.parameters == (sets,), "a header can be made of it and read")
    info = configuration.info
    promise(info.reorder_frames is None or 0 <= info.reorder_frames <= 16, "reordering is bounded")


def _fmtp(data: bytes) -> None:
    lines = data.decode("utf-8", "replace").split("\n")
    codec = _H265 if lines[0].startswith("5") else _H264
    pairs = dict(line.split("=", 1) for line in lines[1:] if "=" in line)
    sets = parameter_sets_from_fmtp(codec, pairs)
    if sets is not None and sets.is_complete:
        _check_configuration(sets)


# --- depacketisers -----------------------------------------------------------------------------


def check_items(items: Sequence[Gop | Discontinuity], codec: VideoCodec, limits: Limits) -> None:
    """What must hold of everything that a depacketiser hands over."""
    starts = True
    for item in items:
        if isinstance(item, Discontinuity):
            starts = True
            continue
        promise(item.starts_run or not starts, "after a break a new run starts")
        starts = False
        _check_gop(item, codec, limits)


def _check_gop(gop: Gop, codec: VideoCodec, limits: Limits) -> None:
    count = len(gop)
    promise(count > 0 and gop.sync[0] == 1, "a group starts with a key frame")
    lengths = {len(gop.timestamps), len(gop.frames), len(gop.arrivals_us), len(gop.sync)}
    promise(lengths == {count}, "one entry a sample")
    promise(sum(gop.sizes()) == gop.size_bytes, "the size is that of the samples")
    promise(count <= limits.gop_samples + 1, "few samples")
    promise(gop.size_bytes <= limits.gop_bytes + limits.access_unit_bytes, "few bytes")
    promise(gop.arrivals_us == sorted(gop.arrivals_us), "arrivals ascend")
    picture = RULES[codec].picture_mask
    for sample in gop.frames:
        units = list(annexb.split(sample))
        promise(
            any(unit and 1 << RULES[codec].nal_types[unit[0]] & picture for unit in units),
            "a sample has a picture",
        )
        promise(len(units) <= limits.nal_units_per_access_unit, "few NAL units")
    latest = before = gop.timestamps[0]
    for now in gop.timestamps:
        promise(now - before <= limits.forward_ticks, "no jump ahead inside a group")
        latest, before = max(latest, now), now
        promise(latest - now <= limits.backward_ticks, "nothing far behind the latest frame")
    _ = gop.parameters.configuration


def _wild(codec: VideoCodec, data: bytes) -> None:
    draw = Draw(data)
    cuts = draw.take(4)
    packets = list(WildCamera(codec, draw).packets())
    if cuts[:1] and cuts[0] & 1:
        _check_bounds(codec, packets)
    else:
        _check_equal(codec, packets, cuts)


def _check_bounds(codec: VideoCodec, packets: Sequence[bytes]) -> None:
    reader = make_depacketizer(codec, PAYLOAD_TYPE, limits=SMALL)
    items: list[Gop | Discontinuity] = []
    for number, packet in enumerate(packets):
        reader.push(packet, 0, len(packet), number)
        items += reader.take()
        held = len(reader._builder.data) + (reader.gop.size_bytes if reader.gop else 0)
        promise(held <= SMALL.gop_bytes + SMALL.access_unit_bytes + _PACKET_BYTES, "memory")
    reader.flush()
    check_items([*items, *reader.take()], codec, SMALL)


def _check_equal(codec: VideoCodec, packets: Sequence[bytes], cuts: bytes) -> None:
    """One by one or cut anywhere, the fast way or the thorough one: the same must come of it."""
    single, streamed = (make_depacketizer(codec, PAYLOAD_TYPE) for _ in range(2))
    for packet in packets:
        single.push(packet, 0, len(packet), 0)
    _stream(streamed, interleave(packets), cuts)
    single.flush()
    streamed.flush()
    one, other = single.take(), streamed.take()
    check_items(one, codec, Limits())
    # Where a packet lay in the buffer is part of some details.
    plain = [[e._replace(detail="") if isinstance(e, Discontinuity) else e for e in items]
             for items in (one, other)]  # fmt: skip
    promise(plain[0] == plain[1], "the fast way and the thorough way agree")
    promise(single.statistics == streamed.statistics, "and count the same")


def _stream(reader: Depacketizer, data: bytes, cuts: bytes) -> None:
    """Hand ``data`` over in pieces, as reads of a socket would bring them."""
    sizes = [48 * size + 61 for size in cuts] or [1 << 16]
    rest, at, turn = b"", 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        piece = rest + data[at : at + size]
        at, turn = at + size, turn + 1
        buffer = b"\xff" * (turn % 3) + piece + b"$\0"
        start = turn % 3
        position = reader.push_interleaved(buffer, start, start + len(piece), 0, 0)
        promise(start <= position <= start + len(piece), "it stops within its bytes")
        rest = piece[position - start :]
    promise(not rest, "every whole packet is taken")


def _lossy(codec: VideoCodec, data: bytes) -> None:
    """Honest frames, some packets lost, doubled or exchanged: no frame comes out incomplete."""
    draw = Draw(data)
    packetiser = Packetiser(
        codec, draw.pick((32, 64, 200)), draw.flag(), draw.pick(("last", "none", "every")),
        sequence=draw.pick((0, 65_520)), clock=draw.pick((0, 0xFFFFF000)),
    )  # fmt: skip
    frames = _honest(codec, draw)
    packets = [packet for each in frames for packet in packetiser.packets(each)]
    certain = frames if packetiser.marking == "last" else frames[:-1]
    safe = _first_shown(packets) if packetiser.marking == "every" else 0
    intact, packets = packets[:safe], packets[safe:]
    at, hurt = 0, False
    while draw.more and packets:
        at = (at + draw.byte()) % len(packets)
        step = draw.below(4)
        hurt = True
        if step == 0:
            del packets[at]
        elif step == 1:
            del packets[at : at + 1 + draw.below(8)]
        elif step == 2:
            packets.insert(at, packets[at])
        elif at:
            packets[at], packets[at - 1] = packets[at - 1], packets[at]
    reader = make_depacketizer(codec, PAYLOAD_TYPE)
    for packet in [*intact, *packets]:
        reader.push(packet, 0, len(packet), 0)
    reader.flush()
    items = reader.take()
    check_items(items, codec, Limits())
    # Of the last frame before the end nobody can tell whether more slices were to follow.
    _check_whole(items, frames, doubtful=packetiser.marking == "every")
    if not hurt:
        got = sum(len(item) for item in items if isinstance(item, Gop))
        promise(got >= len(certain), "nothing is lost without a loss")


def _first_shown(packets: Sequence[bytes]) -> int:
    """Cameras that mark every slice are known as such once a frame has shown it: after so many."""
    markers: dict[bytes, int] = {}
    for count, packet in enumerate(packets):
        ends = [at for at, marked in markers.items() if marked > 1]
        if ends and packet[4:8] != ends[0]:
            return count
        markers[packet[4:8]] = markers.get(packet[4:8], 0) + (packet[1] >> 7)
    return len(packets)


def _honest(codec: VideoCodec, draw: Draw) -> list[Frame]:
    first, every = draw.byte(), 1 + draw.below(5)
    count = 2 + first % (8 if first >= _LONGER else 5)
    shape = draw.byte()
    frames = []
    for number in range(count):
        slices = 1 + ((shape + number) % 3 if shape & 4 else shape & 3) if number else 2
        size = (6, 30, 60, 100)[(shape >> 4 & 3) if shape & 8 else number % 4]
        frames.append(
            frame(
                codec, number, number * 3600, key=number % every == 0, slices=slices, size=size,
                delimiter=bool(shape & 0x40),
            )
        )  # fmt: skip
    return frames


def _check_whole(
    items: Sequence[Gop | Discontinuity], frames: Sequence[Frame], *, doubtful: bool
) -> None:
    known = {each.nals: number for number, each in enumerate(frames)}
    # After a loss a parameter set proves a beginning; before it only a delimiter can have stood.
    known |= {each.nals[1:]: number for number, each in enumerate(frames) if _is_delimited(each)}
    last = -1
    for gop in items:
        if isinstance(gop, Discontinuity):
            continue
        for sample in gop.frames:
            number = known.get(tuple(bytes(unit) for unit in annexb.split(sample)))
            if doubtful and gop is items[-1] and sample is gop.frames[-1]:
                continue
            promise(number is not None, "no frame with a missing packet comes out")
            promise(number is not None and number > last, "frames keep their order")
            last = number if number is not None else last


def _is_delimited(one: Frame) -> bool:
    return one.key and one.nals[0] in DELIMITER.values()


def _target(name: str, codec: VideoCodec, run: object, size: int = 96) -> Target:
    words = tuple(nal for sets in SETS[codec] for nal in sets)
    return Target(name, lambda data: run(codec, data), (MediaError,), True, size, words)  # type: ignore[operator]


_NAL_WORDS: Final = (b"\0\0\1", b"\0\0\0\1", b"\0\0\3", b"\x06\x06\x01\x84\x80", b"\0\0\0\4")
TARGETS: Final = (
    Target("rtp", _rtp, (MediaError,), True, 256, (b"\x80\x60", b"\x90\x60", b"\xbe\xde\0\1")),
    Target("rtcp", _rtcp, (MediaError,), True, 512, (b"\x80\xc8\0\6", b"\x81\xcb\0\1")),
    Target("nal", _nal, (MediaError,), True, 2048, _NAL_WORDS),
    Target("fmtp", _fmtp, (MediaError,), True, 1024, (b"sprop-parameter-sets=", b"sprop-vps=",
           b"sprop-sps=", b"sprop-pps=", b"packetization-mode=1", b"sprop-max-don-diff=")),
    _target("parameters-h264", _H264, _parameters, 512),
    _target("parameters-h265", _H265, _parameters, 512),
    _target("packets-h264", _H264, _wild),
    _target("packets-h265", _H265, _wild),
    _target("loss-h264", _H264, _lossy),
    _target("loss-h265", _H265, _lossy),
)  # fmt: skip
