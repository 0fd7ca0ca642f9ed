// A label map as a picture: each object in its colour, with an outline. Objects in doubt are striped.

const INSIDE = 120;
const STRIPE = 40;
const EDGE = 245;

/** "#rrggbb" as a little-endian RGB number for a Uint32Array of RGBA pixels. */
function packed(colour) {
  const value = Number.parseInt(colour.slice(1), 16);
  return ((value & 255) << 16) | (value & 0xff00) | (value >> 16);
}

export class Overlay {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d");
    this.image = null;
  }

  /** Draws `map` (or only a box of it). `looks`: id -> {colour, doubt}; ids without a look are drawn grey. */
  paint(map, looks, box = null) {
    const { width, height, data } = map;
    if (this.canvas.width !== width || this.canvas.height !== height || !this.image) {
      [this.canvas.width, this.canvas.height] = [width, height];
      this.image = this.context.createImageData(width, height);
      box = null;
    }
    const colours = new Uint32Array(256).fill(0x808080);
    const doubts = new Uint8Array(256);
    for (const [id, look] of looks) {
      colours[id] = packed(look.colour);
      doubts[id] = look.doubt ? 1 : 0;
    }
    const pixels = new Uint32Array(this.image.data.buffer);
    const rim = Math.max(1, Math.round(width / 480)); // The outline's width, pixels.
    const [x0, y0, x1, y1] = box
      ? [Math.max(0, box[0] - rim), Math.max(0, box[1] - rim), Math.min(width, box[2] + rim), Math.min(height, box[3] + rim)]
      : [0, 0, width, height];
    const band = Math.max(3, Math.round(width / 110));
    for (let y = y0; y < y1; y++) {
      for (let x = x0, at = y * width + x0; x < x1; x++, at++) {
        const id = data[at];
        if (id === 0) {
          pixels[at] = 0;
          continue;
        }
        const edge = (x >= rim && data[at - rim] !== id) || (x + rim < width && data[at + rim] !== id)
          || (y >= rim && data[at - rim * width] !== id) || (y + rim < height && data[at + rim * width] !== id);
        const alpha = edge ? EDGE : doubts[id] && (x + y) % (2 * band) < band ? STRIPE : INSIDE;
        pixels[at] = colours[id] | (alpha << 24);
      }
    }
    this.context.putImageData(this.image, 0, 0, x0, y0, x1 - x0, y1 - y0);
  }

  clear() {
    this.image = null;
    [this.canvas.width, this.canvas.height] = [1, 1];
  }
}

/** Where the name of each object goes: id -> {x, y}, the middle of its top, as shares of the map's width and height. */
export function tagPlaces({ width, height, data }) {
  const step = Math.max(1, Math.floor(width / 320));
  const found = new Map();
  for (let y = 0; y < height; y += step) {
    for (let x = 0; x < width; x += step) {
      const id = data[y * width + x];
      if (!id) continue;
      const item = found.get(id);
      if (item) {
        item.sum += x;
        item.count++;
      } else found.set(id, { y, sum: x, count: 1 });
    }
  }
  return new Map([...found].map(([id, item]) => [id, { x: (item.sum / item.count + 0.5) / width, y: item.y / height }]));
}
