// PNG files of label maps: one byte a pixel, the byte is the object's id. A canvas cannot be trusted with ids (it writes colours
// and may change them), so the page reads and writes these files itself.

const SIGNATURE = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
const MAX_PIXELS = 64e6;

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

async function through(stream, bytes) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

function chunk(name, body) {
  const out = new Uint8Array(12 + body.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, body.length);
  for (let i = 0; i < 4; i++) out[4 + i] = name.charCodeAt(i);
  out.set(body, 8);
  view.setUint32(8 + body.length, crc32(out.subarray(4, 8 + body.length)));
  return out;
}

/** A greyscale PNG of `data` (height * width ids), as a Blob. */
export async function encodeLabels({ width, height, data }) {
  const rows = new Uint8Array((width + 1) * height); // A zero before each row: no filter.
  for (let y = 0; y < height; y++) rows.set(data.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8;
  const packed = await through(new CompressionStream("deflate"), rows);
  const parts = [SIGNATURE, chunk("IHDR", header), chunk("IDAT", packed), chunk("IEND", new Uint8Array(0))];
  return new Blob(parts, { type: "image/png" });
}

/** Ids of a greyscale or palette PNG of at most 8 bits a pixel: {width, height, data}. */
export async function decodeLabels(buffer) {
  const bytes = new Uint8Array(buffer);
  if (!SIGNATURE.every((byte, i) => bytes[i] === byte)) throw new Error("The mask is not a PNG file.");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let header = null;
  const packed = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (name === "IHDR") header = body;
    if (name === "IDAT") packed.push(body);
    at += 12 + length;
  }
  if (!header) throw new Error("The mask is a broken PNG file.");
  const size = new DataView(header.buffer, header.byteOffset, 13);
  const [width, height, depth, kind] = [size.getUint32(0), size.getUint32(4), header[8], header[9]];
  if (width * height > MAX_PIXELS) throw new Error("The mask is larger than this page can hold.");
  if (depth > 8 || (kind !== 0 && kind !== 3) || header[12]) throw new Error("The mask is not an 8-bit map of ids.");
  const rows = unfilter(await through(new DecompressionStream("deflate"), await new Blob(packed).arrayBuffer()),
    Math.ceil((width * depth) / 8), height);
  return { width, height, data: depth === 8 ? rows : unpack(rows, width, height, depth) };
}

function unfilter(raw, stride, height) {
  if (raw.length < (stride + 1) * height) throw new Error("The mask is a broken PNG file.");
  const out = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = raw[y * (stride + 1)];
    const from = y * (stride + 1) + 1;
    const to = y * stride;
    if (filter === 0) {
      out.set(raw.subarray(from, from + stride), to);
      continue;
    }
    for (let x = 0; x < stride; x++) {
      const left = x ? out[to + x - 1] : 0;
      const up = y ? out[to + x - stride] : 0;
      const corner = x && y ? out[to + x - stride - 1] : 0;
      let guess = 0;
      if (filter === 1) guess = left;
      else if (filter === 2) guess = up;
      else if (filter === 3) guess = (left + up) >> 1;
      else guess = paeth(left, up, corner);
      out[to + x] = raw[from + x] + guess;
    }
  }
  return out;
}

function paeth(left, up, corner) {
  const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

function unpack(rows, width, height, depth) {
  const stride = Math.ceil((width * depth) / 8);
  const out = new Uint8Array(width * height);
  const mask = (1 << depth) - 1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = x * depth;
      out[y * width + x] = (rows[y * stride + (bit >> 3)] >> (8 - depth - (bit & 7))) & mask;
    }
  }
  return out;
}
