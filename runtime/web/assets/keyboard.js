// The keyboard: shortcuts, and a crosshair that paints, so that nothing needs a pointer.

import { $, tell } from "/assets/ui.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Keyboard {
  /** `app`: stage, tools, objects, press(place, options). `shortcuts`: [{key, words, run, group}]; `key` as in "Ctrl+z" or "f". */
  constructor(app, shortcuts) {
    this.app = app;
    this.canvas = $("stage");
    this.shortcuts = shortcuts;
    this.down = false;
    this.spoken = 0;
    this.canvas.addEventListener("keydown", (event) => this.paintKey(event));
    this.canvas.addEventListener("keyup", (event) => this.keyUp(event));
    this.canvas.addEventListener("blur", () => this.leave());
    this.canvas.addEventListener("pointermove", () => this.hideCursor());
    document.addEventListener("keydown", (event) => this.shortcut(event));
    this.fillHelp();
  }

  get cursor() {
    const { stage } = this.app;
    stage.cursor ??= this.last ?? { x: stage.width / 2, y: stage.height / 2 };
    this.last = stage.cursor;
    return stage.cursor;
  }

  hideCursor() {
    if (this.down || !this.app.stage.cursor) return;
    this.app.stage.cursor = null;
    this.app.stage.redraw();
  }

  leave() {
    if (this.down) this.app.tools.release(this.cursor);
    this.down = false;
    this.hideCursor();
    this.app.showBrush(null);
  }

  paintKey(event) {
    const { app } = this;
    if (event.ctrlKey || event.metaKey || !app.stage.width) return;
    const arrow = ARROWS[event.key];
    if (arrow) this.moveCursor(arrow, event);
    else if (event.key === " ") {
      if (event.repeat) return event.preventDefault();
      this.down = true;
      app.press(this.cursor, { alt: event.shiftKey });
    } else if (event.key === "Enter") this.enter();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Closes a shape; with a brush, puts it down until Enter is pressed again. */
  enter() {
    const { app } = this;
    if (app.tools.shape.length) app.tools.closeShape();
    else if (this.down) {
      this.down = false;
      app.tools.release(this.cursor);
      tell("Brush up");
    } else {
      this.down = true;
      app.press(this.cursor, {});
      tell("Brush down. Arrow keys paint, Enter lifts it.");
    }
  }

  keyUp(event) {
    if (event.key !== " " || !this.down) return;
    this.down = false;
    this.app.tools.release(this.cursor);
  }

  moveCursor([dx, dy], event) {
    const { stage, tools, objects } = this.app;
    const step = event.altKey ? 1 : (event.shiftKey ? 40 : 8) / stage.scale;
    const place = {
      x: Math.min(stage.width - 0.5, Math.max(0.5, this.cursor.x + dx * step)),
      y: Math.min(stage.height - 0.5, Math.max(0.5, this.cursor.y + dy * step)),
    };
    stage.cursor = this.last = place;
    stage.reveal(place);
    tools.drag(place);
    this.app.showBrush(place);
    clearTimeout(this.spoken);
    this.spoken = setTimeout(() => {
      const id = this.app.sheet?.labels.at(place.x, place.y);
      tell(`${Math.floor(place.x)}, ${Math.floor(place.y)}${id ? `, ${objects.get(id)?.name ?? `object ${id}`}` : ""}`);
    }, 400);
  }

  shortcut(event) {
    if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
    const held = event.ctrlKey || event.metaKey;
    const { target } = event;
    const typing = target.matches?.('input[type="text"], input[type="password"]');
    if (typing && event.key !== "Escape") return;
    if (!held && event.key.length === 1 && target !== this.canvas && !$("single-keys").checked) return;
    // A slider keeps the keys that move it.
    if (target.matches?.('input[type="range"]') && /^(Arrow|Home|End|Page)/.test(event.key)) return;
    const name = (held ? "Ctrl+" : "") + (held && event.shiftKey ? "Shift+" : "") + (event.key.length === 1 ? event.key.toLowerCase() : event.key);
    const found = this.shortcuts.find((item) => item.keys.includes(name));
    if (!found || event.altKey) return;
    event.preventDefault();
    found.run(event);
  }

  fillHelp() {
    const groups = new Map([["On the picture", [
      ["Arrow keys", "Move the crosshair (Shift: far, Alt: one pixel)"], ["Space", "Paint, or click; hold it and move to draw"],
      ["Shift + Space", "Take away"], ["Enter", "Brush down or up; close a polygon"], ["Wheel, pinch", "Zoom"],
      ["Middle button, two fingers", "Move the picture"], ["Right button, Alt + click", "Take away"],
    ]]]);
    for (const { group, shown, words } of this.shortcuts) {
      if (!words) continue;
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push([shown, words]);
    }
    for (const [title, rows] of groups) {
      const section = document.createElement("section");
      const head = section.appendChild(document.createElement("h3"));
      const list = section.appendChild(document.createElement("dl"));
      head.textContent = title;
      for (const [keys, words] of rows) {
        const row = list.appendChild(document.createElement("div"));
        row.appendChild(document.createElement("dt")).appendChild(document.createElement("kbd")).textContent = keys;
        row.appendChild(document.createElement("dd")).textContent = words;
      }
      $("keys").append(section);
    }
  }
}
