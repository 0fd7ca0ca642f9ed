// Mouse, pen and touch: one pointer draws, two fingers or the middle button move and zoom, the wheel zooms.

/** Calls of `to`: press(place, {alt}), drag(place), release(place), cancel(), hover(place | null), panBy, zoom, pans(). */
export class Gestures {
  constructor(canvas, stage, to) {
    this.canvas = canvas;
    this.stage = stage;
    this.to = to;
    this.pointers = new Map();
    this.mode = null;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event, false));
    canvas.addEventListener("pointercancel", (event) => this.up(event, true));
    canvas.addEventListener("pointerleave", () => this.to.hover(null));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (this.pointers.size === 2) {
      if (this.mode === "draw") this.to.cancel();
      this.mode = "pinch";
    }
    if (this.pointers.size > 1) return;
    this.canvas.focus({ preventScroll: true });
    const panning = event.button === 1 || (event.button === 0 && this.to.pans());
    this.mode = panning ? "pan" : "draw";
    if (event.button === 1) event.preventDefault();
    if (panning) this.canvas.dataset.grabbing = "";
    // The right button and the eraser end of a pen (button 5) take away.
    else this.to.press(this.place(event), { alt: event.altKey || event.button === 2 || event.button === 5 });
  }

  move(event) {
    const last = this.pointers.get(event.pointerId);
    if (!last) {
      if (event.pointerType !== "touch") this.to.hover(this.place(event));
      return;
    }
    const now = { x: event.clientX, y: event.clientY };
    if (this.mode === "pinch") this.pinch(event.pointerId, last, now);
    else if (this.mode === "pan") this.stage.panBy(now.x - last.x, now.y - last.y);
    else if (this.mode === "draw") {
      const steps = event.getCoalescedEvents?.() ?? [];
      for (const step of steps.length ? steps : [event]) this.to.drag(this.place(step));
      if (event.pointerType !== "touch") this.to.hover(this.place(event));
    }
    this.pointers.set(event.pointerId, now);
  }

  pinch(id, last, now) {
    const other = [...this.pointers].find(([key]) => key !== id)?.[1];
    if (!other) return;
    const span = (a) => Math.hypot(a.x - other.x, a.y - other.y);
    const middle = (a) => ({ x: (a.x + other.x) / 2, y: (a.y + other.y) / 2 });
    const [from, to] = [middle(last), middle(now)];
    this.stage.zoom(span(now) / Math.max(1, span(last)), to.x, to.y, { x: to.x - from.x, y: to.y - from.y });
  }

  up(event, cancelled) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.mode === "draw") {
      if (cancelled) this.to.cancel();
      else this.to.release(this.place(event));
    }
    if (this.mode !== "pinch" || !this.pointers.size) this.mode = null;
    delete this.canvas.dataset.grabbing;
  }

  wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 18 : 1;
    if (event.shiftKey) this.stage.panBy(-(event.deltaX || event.deltaY) * lines, 0);
    else this.stage.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016)), event.clientX, event.clientY);
  }

  place(event) {
    return this.stage.toPicture(event.clientX, event.clientY);
  }
}
