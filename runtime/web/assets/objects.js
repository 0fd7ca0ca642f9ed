// The list of objects: names, colours, states; which one is painted.

import { api } from "/assets/api.js";
import { $, confirmed, tell } from "/assets/ui.js";

const COLOURS = ["#ff3232", "#28e13c", "#ffdc1e", "#3c78ff", "#ff46e6", "#1ee6e6", "#ff8c14", "#a55aff", "#b4ff3c", "#ff82aa"];
const MAX_OBJECTS = 254;
const PAUSE = 400; // ms without an edit before names and colours are sent.
const SETTLE = 3000; // ms after that in which the server may still tell older names.

export class Objects extends EventTarget {
  /** Events: "change" (names, colours, the choice), "remove" with `detail` = id. `painted(id)`: it has pixels on the sheet. */
  constructor({ painted, onError }) {
    super();
    this.painted = painted;
    this.onError = onError;
    this.list = [];
    this.active = 0;
    this.unsaved = false;
    this.edits = 0;
    this.sending = null;
    this.settled = 0;
    this.fresh = new Set();
    this.timer = 0;
    this.rows = new Map();
    $("object-add").addEventListener("click", () => this.add());
  }

  get(id) {
    return this.list.find((item) => item.id === id);
  }

  /** The object to paint with; the first one is made when there is none. */
  ensure() {
    if (!this.active) this.add();
    return this.active;
  }

  add() {
    const used = new Set(this.list.map((item) => item.id));
    let id = 1;
    while (used.has(id)) id++;
    if (id > MAX_OBJECTS) {
      tell(`No more than ${MAX_OBJECTS} objects`);
      return;
    }
    this.list.push({ id, name: `Object ${id}`, color: COLOURS[(id - 1) % COLOURS.length], state: null, confidence: null });
    this.list.sort((a, b) => a.id - b.id);
    this.fresh.add(id);
    this.save();
    this.choose(id);
  }

  choose(id) {
    if (!this.get(id)) return;
    this.active = id;
    tell(`Painting ${this.get(id).name}`);
    this.changed();
  }

  async remove(id) {
    const item = this.get(id);
    if (!item || ((this.painted(id) || item.state) && !(await confirmed(`Remove ${item.name} and its mask?`, "Remove")))) return;
    if (!this.fresh.has(id) || !this.unsaved) await api.removeObject(id);
    this.drop(id);
    this.dispatchEvent(new CustomEvent("remove", { detail: id }));
    tell(`${item.name} removed`);
  }

  drop(id) {
    this.list = this.list.filter((item) => item.id !== id);
    this.fresh.delete(id);
    if (this.active === id) this.active = this.list[0]?.id ?? 0;
    this.changed();
  }

  /** Takes over what the server says, except for names and colours that were just edited here. */
  adopt(objects) {
    let changed = false;
    const edited = this.unsaved || performance.now() < this.settled;
    for (const item of objects) {
      const own = this.get(item.id);
      this.fresh.delete(item.id);
      if (!own) {
        this.list.push({ ...item });
        changed = true;
      } else {
        const kept = edited ? { name: own.name, color: own.color } : {};
        changed ||= !edited && (own.name !== item.name || own.color !== item.color);
        Object.assign(own, item, kept);
      }
    }
    const known = new Set(objects.map((item) => item.id));
    const gone = this.list.filter((item) => !known.has(item.id) && !this.fresh.has(item.id));
    for (const item of gone) {
      // Work that is painted here is not dropped because the server forgot its name.
      if (this.painted(item.id)) Object.assign(item, { state: null, confidence: null });
      else this.drop(item.id);
    }
    this.list.sort((a, b) => a.id - b.id);
    if (!this.active && this.list.length) this.active = this.list[0].id;
    if (changed) this.changed();
    else this.render();
  }

  /** Ids of a mask without an object get one, so that every painted pixel has a name. */
  cover(areas) {
    for (let id = 1; id < 256; id++) {
      if (!areas[id] || this.get(id)) continue;
      this.list.push({ id, name: `Object ${id}`, color: COLOURS[(id - 1) % COLOURS.length], state: null, confidence: null });
      this.fresh.add(id);
    }
    this.list.sort((a, b) => a.id - b.id);
    if (!this.active && this.list.length) this.active = this.list[0].id;
    this.changed();
  }

  save() {
    this.unsaved = true;
    this.edits++;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush().catch(this.onError), PAUSE);
  }

  async flush() {
    clearTimeout(this.timer);
    while (this.sending) await this.sending.catch(() => {}); // One at a time, so that the newest comes last.
    if (!this.unsaved) return;
    const { edits } = this;
    this.sending = api.saveObjects(this.list.map(({ id, name, color }) => ({ id, name: name || `Object ${id}`, color })));
    try {
      await this.sending;
    } finally {
      this.sending = null;
    }
    this.settled = performance.now() + SETTLE;
    // What was edited meanwhile is sent by the timer that the edit has set.
    if (this.edits === edits) this.unsaved = false;
  }

  looks() {
    return new Map(this.list.map((item) => [item.id, { colour: item.color, doubt: item.state === "recovering" }]));
  }

  changed() {
    this.render();
    this.dispatchEvent(new Event("change"));
  }

  render() {
    $("objects-empty").hidden = this.list.length > 0;
    for (const [id, row] of this.rows) {
      if (this.get(id)) continue;
      row.remove();
      this.rows.delete(id);
    }
    for (const [place, item] of this.list.entries()) {
      const row = this.rows.get(item.id) ?? this.addRow(item.id);
      if ($("objects").children[place] !== row) $("objects").insertBefore(row, $("objects").children[place] ?? null);
      const part = (name) => row.querySelector(`.${name}`);
      row.classList.toggle("active", item.id === this.active);
      part("pick").setAttribute("aria-pressed", String(item.id === this.active));
      part("pick").setAttribute("aria-label", `Paint ${item.name}`);
      part("remove").setAttribute("aria-label", `Remove ${item.name}`);
      if (document.activeElement !== part("name")) part("name").value = item.name;
      if (document.activeElement !== part("colour")) part("colour").value = item.color;
      const state = item.state ?? "none";
      row.dataset.state = state;
      part("state").querySelector("use").setAttribute("href", `#i-${state === "none" ? "brush" : state}`);
      part("state").querySelector("span").textContent = describe(item);
    }
  }

  addRow(id) {
    const row = $("object-row").content.firstElementChild.cloneNode(true);
    this.rows.set(id, row);
    row.querySelector(".pick").textContent = id;
    row.querySelector(".pick").addEventListener("click", () => this.choose(id));
    row.querySelector(".remove").addEventListener("click", () => this.remove(id).catch(this.onError));
    row.querySelector(".name").addEventListener("input", ({ target }) => {
      this.get(id).name = target.value;
      this.save();
      this.dispatchEvent(new Event("change"));
    });
    row.querySelector(".colour").addEventListener("input", ({ target }) => {
      this.get(id).color = target.value;
      this.save();
      this.dispatchEvent(new Event("change"));
    });
    return row;
  }
}

/** "ok, 93 %": the state of an object in words. */
export function describe({ state, confidence }) {
  if (!state) return "not tracked";
  const share = confidence === null || confidence === undefined ? "" : `, ${Math.round(100 * confidence)} %`;
  return `${state}${share}`;
}
