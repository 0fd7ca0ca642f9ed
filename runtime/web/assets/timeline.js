// Confidence of each object over the frames, as a small chart.

import { token } from "/assets/ui.js";

const MAX_FRAMES = 10000;
const SHOWN = 1200;

export class Timeline {
  /** `objects`: the Objects. `span()`: [first, last] frame to show, or null for the newest frames. `current()`: frame to mark. */
  constructor(canvas, { objects, span, current }) {
    Object.assign(this, { canvas, objects, span, current });
    this.frames = [];
    this.pending = false;
    new ResizeObserver(() => this.redraw()).observe(canvas);
    document.addEventListener("themechange", () => this.redraw());
  }

  get last() {
    return this.frames.at(-1)?.index ?? -1;
  }

  /** What is known of the objects in a frame: {id: {state, confidence}}. */
  at(index) {
    return this.frames.find((frame) => frame.index === index)?.objects ?? {};
  }

  clear() {
    this.frames = [];
    this.redraw();
  }

  /** `frames`: [{index, objects: {id: {state, confidence}}}]. Newer values of a frame take the place of older ones. */
  add(frames) {
    if (!frames.length) return;
    if (frames[0].index > this.last) this.frames.push(...frames);
    else {
      const merged = new Map(this.frames.map((frame) => [frame.index, frame]));
      for (const frame of frames) merged.set(frame.index, frame);
      this.frames = [...merged.values()].sort((a, b) => a.index - b.index);
    }
    if (this.frames.length > MAX_FRAMES) this.frames.splice(0, this.frames.length - MAX_FRAMES);
    this.redraw();
  }

  redraw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.pending = false;
    const { canvas } = this;
    const [w, h, ratio] = [canvas.clientWidth, canvas.clientHeight, window.devicePixelRatio || 1];
    [canvas.width, canvas.height] = [Math.round(w * ratio), Math.round(h * ratio)];
    const c = canvas.getContext("2d");
    c.scale(ratio, ratio);
    const [ink, line] = [token("muted"), token("line")];
    const place = { left: 30, right: w - 16, top: 8, bottom: h - 8 };
    const y = (confidence) => place.bottom - confidence * (place.bottom - place.top);
    c.font = '11px system-ui, "DejaVu Sans", sans-serif';
    c.textBaseline = "middle";
    for (const level of [0, 0.5, 1]) {
      c.strokeStyle = line;
      c.beginPath();
      c.moveTo(place.left, Math.round(y(level)) + 0.5);
      c.lineTo(place.right, Math.round(y(level)) + 0.5);
      c.stroke();
      c.fillStyle = ink;
      c.textAlign = "right";
      c.fillText(`${100 * level}`, place.left - 5, y(level));
    }
    const [first, last] = this.span() ?? [Math.max(this.frames[0]?.index ?? 0, this.last - SHOWN), this.last];
    const x = (index) => place.left + ((index - first) / Math.max(1, last - first)) * (place.right - place.left);
    const shown = this.frames.filter((frame) => frame.index >= first && frame.index <= last);
    for (const item of this.objects.list) this.drawLine(c, item, shown, x, y, ink);
    const current = this.current();
    if (current !== null) {
      c.strokeStyle = ink;
      c.beginPath();
      c.moveTo(Math.round(x(current)) + 0.5, 0);
      c.lineTo(Math.round(x(current)) + 0.5, h);
      c.stroke();
    }
    this.label(shown, first, last);
  }

  drawLine(c, item, shown, x, y, ink) {
    let end = null;
    let before = null;
    c.strokeStyle = item.color;
    for (const frame of shown) {
      const value = frame.objects[item.id];
      if (!value || value.confidence === null) {
        before = null;
        continue;
      }
      const now = [x(frame.index), y(value.confidence)];
      // A line is broken where frames are missing, and thin where the object is in doubt.
      if (before && frame.index - before.index < 30) {
        c.lineWidth = value.state === "ok" ? 2 : 1;
        c.setLineDash(value.state === "lost" ? [2, 3] : []);
        c.beginPath();
        c.moveTo(...before.at);
        c.lineTo(...now);
        c.stroke();
      }
      before = { at: now, index: frame.index };
      end = now;
    }
    c.setLineDash([]);
    if (!end) return;
    c.fillStyle = ink;
    c.textAlign = "left";
    c.fillText(String(item.id), end[0] + 4, end[1]);
  }

  label(shown, first, last) {
    const words = this.objects.list
      .map((item) => {
        const values = shown.map((frame) => frame.objects[item.id]?.confidence).filter((value) => typeof value === "number");
        if (!values.length) return "";
        return `${item.name}: now ${Math.round(100 * values.at(-1))} %, lowest ${Math.round(100 * Math.min(...values))} %`;
      })
      .filter(Boolean);
    const text = words.length ? `Confidence, frames ${first} to ${last}. ${words.join(". ")}` : "Confidence over time: nothing tracked yet";
    if (this.canvas.getAttribute("aria-label") !== text) this.canvas.setAttribute("aria-label", text);
  }
}
