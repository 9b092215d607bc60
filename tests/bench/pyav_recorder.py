"""A recorder as one writes it with PyAV: a thread a camera, packets from RTSP into an MP4 file."""

import sys
import threading
from pathlib import Path

import av


def record(address: str, path: Path) -> None:
    with (
        av.open(address, options={"rtsp_transport": "tcp"}) as source,
        av.open(str(path), "w", options={"movflags": "+frag_keyframe"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)


def main() -> None:
    folder, *addresses = sys.argv[1:]
    for number, address in enumerate(addresses):
        path = Path(folder) / f"{number}.mp4"
        threading.Thread(target=record, args=(address, path)).start()


if __name__ == "__main__":
    main()
