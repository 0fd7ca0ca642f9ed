// The canvas: picture, masks, region, names, crosshair; zoom and pan. Positions are picture pixels, `scale` is CSS pixels each.

const MAX_SCALE = 40;

export class Stage {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.picture = null;
    [this.width, this.height] = [0, 0];
    this.overlay = null;
    this.region = null;
    this.tags = [];
    this.cursor = null;
    this.brush = null;
    this.preview = null;
    [this.scale, this.left, this.top] = [1, 0, 0];
    this.fitted = true;
    this.pending = false;
    new ResizeObserver(() => this.resize()).observe(canvas);
  }

  /** Shows `picture` (ImageBitmap) stretched to width x height, the size of the source. */
  show(picture, width, height) {
    if (this.picture !== picture) this.picture?.close();
    this.picture = picture;
    const changed = width !== this.width || height !== this.height;
    [this.width, this.height] = [width, height];
    if (changed) this.fit();
    this.redraw();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.canvas;
    [this.canvas.width, this.canvas.height] = [Math.round(clientWidth * ratio), Math.round(clientHeight * ratio)];
    if (this.fitted) this.fit();
    else this.keepInside();
    this.draw();
  }

  get fitScale() {
    const { clientWidth, clientHeight } = this.canvas;
    return this.width ? Math.min(clientWidth / this.width, clientHeight / this.height) : 1;
  }

  fit() {
    this.scale = this.fitScale;
    this.fitted = true;
    this.keepInside();
    this.redraw();
  }

  keepInside() {
    const place = (at, length, room) => (length <= room ? (room - length) / 2 : Math.min(room / 3, Math.max(room * 0.67 - length, at)));
    this.left = place(this.left, this.width * this.scale, this.canvas.clientWidth);
    this.top = place(this.top, this.height * this.scale, this.canvas.clientHeight);
  }

  panBy(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.keepInside();
    this.redraw();
  }

  /** Moves by `shift` and zooms about a place of the window; the middle of the canvas when none is given. */
  zoom(factor, clientX = null, clientY = null, shift = { x: 0, y: 0 }) {
    this.left += shift.x;
    this.top += shift.y;
    const box = this.canvas.getBoundingClientRect();
    const x = clientX === null ? box.width / 2 : clientX - box.left;
    const y = clientY === null ? box.height / 2 : clientY - box.top;
    const scale = Math.min(MAX_SCALE, Math.max(this.fitScale, this.scale * factor));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.fitted = scale <= this.fitScale * 1.001;
    this.keepInside();
    this.redraw();
  }

  toPicture(clientX, clientY) {
    const box = this.canvas.getBoundingClientRect();
    return { x: (clientX - box.left - this.left) / this.scale, y: (clientY - box.top - this.top) / this.scale };
  }

  /** Pans so that a place can be seen. */
  reveal({ x, y }) {
    const [margin, px, py] = [24, x * this.scale + this.left, y * this.scale + this.top];
    const shift = (at, room) => (at < margin ? margin - at : at > room - margin ? room - margin - at : 0);
    if (!this.fitted) this.panBy(shift(px, this.canvas.clientWidth), shift(py, this.canvas.clientHeight));
  }

  redraw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.pending = false;
    const { context: c, canvas } = this;
    const ratio = canvas.width / Math.max(1, canvas.clientWidth);
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.width) return;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    const [w, h] = [this.width * this.scale, this.height * this.scale];
    c.imageSmoothingEnabled = this.scale < 3;
    c.imageSmoothingQuality = "high";
    if (this.picture) c.drawImage(this.picture, this.left, this.top, w, h);
    if (this.overlay) c.drawImage(this.overlay, this.left, this.top, w, h);
    if (this.region) this.drawRegion(c);
    c.save();
    c.translate(this.left, this.top);
    this.preview?.(c, this.scale);
    if (this.brush) this.drawRing(c, this.brush);
    if (this.cursor) this.drawCursor(c);
    c.restore();
    for (const tag of this.tags) this.drawTag(c, tag);
  }

  drawRegion(c) {
    const [x, y, w, h] = this.region.map((value) => value * this.scale);
    const box = [this.left + x + 0.5, this.top + y + 0.5, w - 1, h - 1];
    c.lineWidth = 1;
    for (const [colour, offset] of [["rgba(0,0,0,.7)", 0], ["rgba(255,255,255,.95)", 5]]) {
      c.strokeStyle = colour;
      c.setLineDash([5, 5]);
      c.lineDashOffset = offset;
      c.strokeRect(...box);
    }
    c.setLineDash([]);
  }

  drawRing(c, { x, y, radius }) {
    for (const [colour, width] of [["rgba(0,0,0,.75)", 3], ["#fff", 1.25]]) {
      c.beginPath();
      c.arc(x * this.scale, y * this.scale, Math.max(2, radius * this.scale), 0, 2 * Math.PI);
      c.strokeStyle = colour;
      c.lineWidth = width;
      c.stroke();
    }
  }

  drawCursor(c) {
    const [x, y] = [this.cursor.x * this.scale, this.cursor.y * this.scale];
    for (const [colour, width] of [["rgba(0,0,0,.8)", 4], ["#fff", 1.5]]) {
      c.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        c.moveTo(x + 4 * dx, y + 4 * dy);
        c.lineTo(x + 16 * dx, y + 16 * dy);
      }
      c.strokeStyle = colour;
      c.lineWidth = width;
      c.stroke();
    }
  }

  /** A name: {x, y (picture pixels), text, colour}. It stays inside the canvas. */
  drawTag(c, { x, y, text, colour }) {
    c.font = '600 12px system-ui, "DejaVu Sans", sans-serif';
    c.textBaseline = "middle";
    const width = c.measureText(text).width + 27;
    const at = (value, length, room) => Math.round(Math.min(Math.max(value, 4), Math.max(4, room - length - 4)));
    const left = at(this.left + x * this.scale - width / 2, width, this.canvas.clientWidth);
    const top = at(this.top + y * this.scale - 27, 22, this.canvas.clientHeight);
    c.beginPath();
    c.roundRect(left, top, width, 22, 5);
    c.fillStyle = "rgba(15,18,20,.82)";
    c.fill();
    c.beginPath();
    c.arc(left + 11, top + 11, 4.5, 0, 2 * Math.PI);
    c.fillStyle = colour;
    c.fill();
    c.fillStyle = "#fff";
    c.fillText(text, left + 20, top + 11.5);
  }
}
