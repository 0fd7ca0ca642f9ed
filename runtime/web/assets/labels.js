// Drawing on label maps. Coordinates are picture pixels: pixel (x, y) covers [x, x + 1) and is inside a shape when its centre is.
// Every function returns the box [x0, y0, x1, y1) of what it may have changed, or null.

/** A map of ids, row by row. */
export class LabelMap {
  constructor(width, height, data = new Uint8Array(width * height)) {
    this.width = width;
    this.height = height;
    this.data = data;
  }

  at(x, y) {
    const [column, row] = [Math.floor(x), Math.floor(y)];
    const inside = column >= 0 && row >= 0 && column < this.width && row < this.height;
    return inside ? this.data[row * this.width + column] : 0;
  }

  /** Number of pixels of each id, by id. */
  areas() {
    const areas = new Uint32Array(256);
    for (const id of this.data) areas[id]++;
    return areas;
  }
}

export function unite(a, b) {
  if (!a || !b) return a || b;
  return [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])];
}

function clipped(map, x0, y0, x1, y1) {
  const box = [Math.max(0, Math.floor(x0)), Math.max(0, Math.floor(y0)),
    Math.min(map.width, Math.ceil(x1)), Math.min(map.height, Math.ceil(y1))];
  return box[0] < box[2] && box[1] < box[3] ? box : null;
}

/** The pixels within `radius` of the line from a to b. */
export function drawStroke(map, a, b, radius, id) {
  const r = Math.max(radius, 0.71);
  const box = clipped(map, Math.min(a.x, b.x) - r, Math.min(a.y, b.y) - r, Math.max(a.x, b.x) + r, Math.max(a.y, b.y) + r);
  if (!box) return null;
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const length = dx * dx + dy * dy;
  for (let y = box[1]; y < box[3]; y++) {
    for (let x = box[0]; x < box[2]; x++) {
      const [px, py] = [x + 0.5 - a.x, y + 0.5 - a.y];
      const along = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
      const [qx, qy] = [px - along * dx, py - along * dy];
      if (qx * qx + qy * qy <= r * r) map.data[y * map.width + x] = id;
    }
  }
  return box;
}

/** The pixels inside a polygon, by the even-odd rule. */
export function drawPolygon(map, points, id) {
  const xs = points.map((p) => p.x);
  const ys = points.map((p) => p.y);
  const box = clipped(map, Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys));
  if (!box) return null;
  for (let y = box[1]; y < box[3]; y++) {
    const centre = y + 0.5;
    const cuts = [];
    points.forEach((p, i) => {
      const q = points[(i + 1) % points.length];
      if (p.y <= centre !== q.y <= centre) cuts.push(p.x + ((centre - p.y) / (q.y - p.y)) * (q.x - p.x));
    });
    cuts.sort((a, b) => a - b);
    for (let i = 0; i + 1 < cuts.length; i += 2) {
      const from = Math.max(0, Math.ceil(cuts[i] - 0.5));
      const to = Math.min(map.width, Math.ceil(cuts[i + 1] - 0.5));
      if (from < to) map.data.fill(id, y * map.width + from, y * map.width + to);
    }
  }
  return box;
}

export function drawRectangle(map, a, b, id) {
  return drawPolygon(map, [a, { x: b.x, y: a.y }, b, { x: a.x, y: b.y }], id);
}

/** The pixels of one id that are connected with a place (4 neighbours). */
export function fillArea(map, place, id) {
  const { width, height, data } = map;
  const start = clipped(map, place.x, place.y, place.x + 0.01, place.y + 0.01);
  if (!start) return null;
  const from = map.at(place.x, place.y);
  if (from === id) return null;
  let box = start;
  const stack = [start[1] * width + start[0]];
  while (stack.length) {
    const seed = stack.pop();
    if (data[seed] !== from) continue;
    const y = Math.floor(seed / width);
    let [left, right] = [seed, seed];
    while (left > y * width && data[left - 1] === from) left--;
    while (right + 1 < (y + 1) * width && data[right + 1] === from) right++;
    data.fill(id, left, right + 1);
    box = unite(box, [left - y * width, y, right + 1 - y * width, y + 1]);
    for (const row of [y - 1, y + 1]) {
      if (row < 0 || row >= height) continue;
      const shift = (row - y) * width;
      let open = false;
      for (let at = left + shift; at <= right + shift; at++) {
        if (data[at] === from && !open) stack.push(at);
        open = data[at] === from;
      }
    }
  }
  return box;
}

/** Gives `id` to the pixels where `mask` is not 0, leaving other objects as they are in `base`. */
export function drawMask(map, base, mask, id) {
  map.data.set(base);
  for (let i = 0; i < mask.length; i++) {
    if (base[i] === id || base[i] === 0) map.data[i] = mask[i] ? id : base[i];
  }
  return [0, 0, map.width, map.height];
}

/** The same map at another size, by nearest neighbour. */
export function resizeLabels(map, width, height) {
  if (map.width === width && map.height === height) return map;
  const out = new LabelMap(width, height);
  for (let y = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * map.height) / height) * map.width;
    for (let x = 0; x < width; x++) out.data[y * width + x] = map.data[row + Math.floor(((x + 0.5) * map.width) / width)];
  }
  return out;
}
