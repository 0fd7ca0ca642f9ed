// The painting tools. Each gesture becomes one step of the history; clicks of the selection are steps too, so undo takes one back.

import { drawMask, drawPolygon, drawRectangle, drawStroke, fillArea, unite } from "/assets/labels.js";

export const TOOLS = ["select", "brush", "eraser", "polygon", "rect", "fill", "hand"];
const NEAR = 12; // CSS pixels within which a click meets the first corner of a polygon.

/**
 * `host`: sheet() -> {labels, history} or null, objectId() -> id to paint with (0: none), scale() -> CSS pixels a picture pixel,
 * changed(box, done), select(points) -> Promise of a mask, redraw(), say(text).
 */
export class Tools {
  constructor(host) {
    this.host = host;
    this.name = "brush";
    this.size = 24;
    this.negative = false;
    this.waiting = 0; // Selections that the server has not answered.
    this.reset();
  }

  reset() {
    this.stroke = null;
    this.corner = null;
    this.far = null;
    this.shape = [];
    this.clicks = null;
    this.host.redraw();
  }

  choose(name) {
    this.reset();
    this.name = name;
  }

  /** A press of the pointer or the space bar. `alt`: take away in place of add. */
  press(place, { alt = false } = {}) {
    const sheet = this.host.sheet();
    const id = this.host.objectId();
    if (!sheet || !id || this.name === "hand") return;
    const value = alt || this.name === "eraser" ? 0 : id;
    if (this.name === "brush" || this.name === "eraser") {
      this.stroke = { before: sheet.labels.data.slice(), box: null, last: place, value };
      this.drag(place);
    } else if (this.name === "rect") {
      if (this.corner) this.finishRectangle(place);
      else [this.corner, this.far] = [{ ...place, value }, place];
    } else if (this.name === "polygon") this.addCorner(place, value);
    else if (this.name === "fill") this.step(() => fillArea(sheet.labels, place, value));
    else if (this.name === "select") this.click(place, !(alt || this.negative), id);
    this.host.redraw();
  }

  drag(place) {
    if (this.stroke) {
      const { labels } = this.host.sheet();
      const box = drawStroke(labels, this.stroke.last, place, this.size / 2, this.stroke.value);
      this.stroke.box = unite(this.stroke.box, box);
      this.stroke.last = place;
      if (box) this.host.changed(box, false);
    }
    if (this.corner || this.shape.length) {
      this.far = place;
      this.host.redraw();
    }
  }

  release(place) {
    if (this.stroke) {
      const { before, box } = this.stroke;
      this.stroke = null;
      if (box && this.host.sheet().history.add(before, box)) this.host.changed(box, true);
    } else if (this.corner && Math.hypot(place.x - this.corner.x, place.y - this.corner.y) * this.host.scale() > 6) {
      this.finishRectangle(place);
    }
  }

  /** The stroke under way never was. */
  cancel() {
    if (this.stroke) {
      const { labels } = this.host.sheet();
      labels.data.set(this.stroke.before);
      this.host.changed([0, 0, labels.width, labels.height], false);
    }
    this.reset();
  }

  /** Runs `draw` as one step of the history. */
  step(draw, note = null) {
    const { labels, history } = this.host.sheet();
    const before = labels.data.slice();
    const box = draw();
    if (box && history.add(before, box, note)) this.host.changed(box, true);
  }

  finishRectangle(place) {
    const { corner } = this;
    this.corner = this.far = null;
    this.step(() => drawRectangle(this.host.sheet().labels, corner, place, corner.value));
    this.host.redraw();
  }

  addCorner(place, value) {
    const near = (a) => Math.hypot(a.x - place.x, a.y - place.y) * this.host.scale() < NEAR;
    if (this.shape.length > 2 && (near(this.shape[0]) || near(this.shape.at(-1)))) this.closeShape();
    else this.shape.push({ ...place, value });
    this.far = place;
  }

  closeShape() {
    const { shape } = this;
    if (shape.length < 3) return;
    this.shape = [];
    this.step(() => drawPolygon(this.host.sheet().labels, shape, shape[0].value));
    this.host.redraw();
  }

  /** Click-to-select: all clicks on one object together, on top of what was painted before the first of them. */
  async click(place, positive, id) {
    const sheet = this.host.sheet();
    if (this.clicks?.id !== id || this.clicks.sheet !== sheet) {
      this.clicks = { id, sheet, base: sheet.labels.data.slice(), points: [] };
    }
    const { clicks } = this;
    const points = [...clicks.points, { x: place.x, y: place.y, positive }];
    if (!points.some((point) => point.positive)) {
      this.host.say("Click on the object first; then take away what is not a part of it.");
      return;
    }
    clicks.points = points;
    this.waiting++;
    this.host.redraw();
    try {
      const mask = await this.host.select(points);
      // Another click, tool or frame came first: its answer counts.
      if (this.clicks !== clicks || clicks.points !== points || this.host.sheet() !== sheet) return;
      this.step(() => drawMask(sheet.labels, clicks.base, mask, id), { clicks, points });
    } catch (error) {
      if (this.clicks === clicks && clicks.points === points) clicks.points = points.slice(0, -1);
      this.host.say(error.message, "error");
    } finally {
      this.waiting--;
    }
    this.host.redraw();
  }

  /** The same clicks again, after the reach was changed. */
  async selectAgain() {
    const last = this.clicks?.points.at(-1);
    if (!last) return;
    this.clicks.points = this.clicks.points.slice(0, -1);
    await this.click(last, last.positive, this.clicks.id);
  }

  undo() {
    if (this.shape.length) {
      this.shape.pop();
      this.host.redraw();
      return;
    }
    const step = this.host.sheet()?.history.undo();
    if (!step) return;
    if (step.note && step.note.clicks === this.clicks) this.clicks.points = step.note.points.slice(0, -1);
    else this.clicks = null;
    this.host.changed(step.box, true);
  }

  redo() {
    const step = this.host.sheet()?.history.redo();
    if (!step) return;
    if (step.note && step.note.clicks === this.clicks) this.clicks.points = step.note.points;
    else this.clicks = null;
    this.host.changed(step.box, true);
  }

  /** Draws what is under way. The origin is the picture's corner; `scale` is CSS pixels a picture pixel. */
  preview(c, scale) {
    const outline = (path) => {
      for (const [colour, width] of [["rgba(0,0,0,.75)", 3.5], ["#fff", 1.5]]) {
        c.strokeStyle = colour;
        c.lineWidth = width;
        c.stroke(path);
      }
    };
    const path = new Path2D();
    if (this.corner && this.far) {
      path.rect(this.corner.x * scale, this.corner.y * scale, (this.far.x - this.corner.x) * scale, (this.far.y - this.corner.y) * scale);
    }
    this.shape.forEach((p, i) => path[i ? "lineTo" : "moveTo"](p.x * scale, p.y * scale));
    if (this.shape.length && this.far) path.lineTo(this.far.x * scale, this.far.y * scale);
    outline(path);
    for (const [i, p] of this.shape.entries()) dot(c, p.x * scale, p.y * scale, i ? "#fff" : "#ffd34d", "");
    for (const p of this.clicks?.points ?? []) dot(c, p.x * scale, p.y * scale, p.positive ? "#7be08f" : "#ff9a8f", p.positive ? "+" : "–");
  }
}

function dot(c, x, y, colour, sign) {
  c.beginPath();
  c.arc(x, y, sign ? 7.5 : 4.5, 0, 2 * Math.PI);
  c.fillStyle = colour;
  c.fill();
  c.strokeStyle = "rgba(0,0,0,.8)";
  c.lineWidth = 1.5;
  c.stroke();
  if (!sign) return;
  c.font = "700 12px system-ui, sans-serif";
  [c.fillStyle, c.textAlign, c.textBaseline] = ["#111", "center", "middle"];
  c.fillText(sign, x, y + 0.5);
  c.textAlign = "start";
}
