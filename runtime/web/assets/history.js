// Undo and redo of a label map. A step holds the changed box before and after, so that hundreds of strokes fit into memory.

const MAX_BYTES = 64e6;

function copyBox(map, data, [x0, y0, x1, y1]) {
  const out = new Uint8Array((x1 - x0) * (y1 - y0));
  for (let y = y0; y < y1; y++) out.set(data.subarray(y * map.width + x0, y * map.width + x1), (y - y0) * (x1 - x0));
  return out;
}

function pasteBox(map, part, [x0, y0, x1, y1]) {
  for (let y = y0; y < y1; y++) map.data.set(part.subarray((y - y0) * (x1 - x0), (y - y0 + 1) * (x1 - x0)), y * map.width + x0);
}

export class History {
  constructor(map) {
    this.map = map;
    this.done = [];
    this.undone = [];
  }

  /** Keeps what a step changed. `before` is the whole map before it; `note` is given back by undo and redo. */
  add(before, box, note = null) {
    const step = { box, note, before: copyBox(this.map, before, box), after: copyBox(this.map, this.map.data, box) };
    if (step.before.every((id, i) => id === step.after[i])) return false;
    this.done.push(step);
    this.undone = [];
    let bytes = 0;
    const kept = this.done.findLastIndex((item) => (bytes += 2 * item.before.length) > MAX_BYTES);
    if (kept > 0) this.done.splice(0, kept);
    return true;
  }

  undo() {
    const step = this.done.pop();
    if (!step) return null;
    pasteBox(this.map, step.before, step.box);
    this.undone.push(step);
    return step;
  }

  redo() {
    const step = this.undone.pop();
    if (!step) return null;
    pasteBox(this.map, step.after, step.box);
    this.done.push(step);
    return step;
  }
}
