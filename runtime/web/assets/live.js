// The live picture: a websocket that opens again, with growing pauses, when it breaks.

const PAUSES = [1, 2, 4, 8, 15];

/** One message: uint32 length, JSON, PNG of the mask (may be empty), JPEG of the frame. */
export function splitMessage(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const info = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const mask = 4 + length;
  const picture = mask + info.mask_bytes;
  return { info, mask: buffer.slice(mask, picture), picture: new Blob([new Uint8Array(buffer, picture)], { type: "image/jpeg" }) };
}

export class Live {
  /** `onFrame(message)` may be async: frames that come while it works are left out. `onChange(seconds)`: null when connected. */
  constructor({ onFrame, onChange }) {
    this.onFrame = onFrame;
    this.onChange = onChange;
    this.failures = 0;
    this.socket = null;
    this.timer = 0;
    this.waiting = null;
    this.working = false;
  }

  open() {
    clearTimeout(this.timer);
    this.close();
    const address = new URL("/api/live", location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.onChange(null);
    socket.onmessage = ({ data }) => {
      this.failures = 0;
      if (data instanceof ArrayBuffer) this.take(data);
    };
    socket.onclose = () => {
      if (this.socket !== socket) return;
      const pause = PAUSES[Math.min(this.failures++, PAUSES.length - 1)];
      this.onChange(pause);
      this.timer = setTimeout(() => this.open(), 1000 * pause);
    };
  }

  close() {
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  async take(data) {
    this.waiting = data;
    if (this.working) return;
    this.working = true;
    while (this.waiting) {
      const next = this.waiting;
      this.waiting = null;
      try {
        await this.onFrame(splitMessage(next));
      } catch (error) {
        console.warn("a frame could not be shown:", error);
      }
    }
    this.working = false;
  }
}
