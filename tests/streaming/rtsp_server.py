"""A real RTSP server (GStreamer's) that streams a video file over and over; run with the system's Python.

/usr/bin/python3 rtsp_server.py PORT WIDTH HEIGHT RATE RAW_FILE
"""

import itertools
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402


class Factory(GstRtspServer.RTSPMediaFactory):
    """One pipeline a client: raw RGB frames of a file, pushed as fast as the encoder asks, stamped at RATE."""

    def __init__(self, width, height, rate, frames):  # type: ignore[no-untyped-def]
        super().__init__()
        self.rate, self.frames = rate, frames
        self.set_launch(
            f"( appsrc name=source is-live=true do-timestamp=true format=GST_FORMAT_TIME "
            f"caps=video/x-raw,format=RGB,width={width},height={height},framerate={rate}/1 "
            f"! videoconvert ! video/x-raw,format=I420 ! x264enc tune=zerolatency speed-preset=ultrafast "
            f"key-int-max={rate} bitrate=2000 "
            "! rtph264pay name=pay0 pt=96 config-interval=1 )"
        )

    def feed(self, media):  # type: ignore[no-untyped-def]
        """Push frames at the given rate."""
        source = media.get_element().get_by_name("source")
        numbers = itertools.count()

        def push() -> bool:
            data = self.frames[next(numbers) % len(self.frames)]
            return bool(source.emit("push-buffer", Gst.Buffer.new_wrapped(data)) == Gst.FlowReturn.OK)

        push()
        GLib.timeout_add(1000 // self.rate, push)


def main() -> None:
    """Serve until killed."""
    port, width, height, rate = (int(word) for word in sys.argv[1:5])
    with open(sys.argv[5], "rb") as file:
        data = file.read()
    size = width * height * 3
    frames = [data[at : at + size] for at in range(0, len(data) // size * size, size)]
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(port))
    factory = Factory(width, height, rate, frames)
    factory.connect("media-configure", lambda _, media: factory.feed(media))
    factory.set_shared(False)
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
