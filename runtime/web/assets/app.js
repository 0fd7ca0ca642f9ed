// What the page does: live picture, frozen frame, tracking. The wiring of buttons is in main.js, what is shown in status.js.

import { api } from "/assets/api.js";
import { Film } from "/assets/film.js";
import { Live } from "/assets/live.js";
import { Objects } from "/assets/objects.js";
import { Overlay, tagPlaces } from "/assets/overlay.js";
import { DraftSaver, Sheet, readLabels } from "/assets/sheet.js";
import { Stage } from "/assets/stage.js";
import { Timeline } from "/assets/timeline.js";
import { Tools } from "/assets/tools.js";
import { $, attempt, confirmed, say, tell } from "/assets/ui.js";

const POLL = 1000;
const POLL_JOB = 400;
const OBJECTS_EVERY = 200; // ms between updates of the list from live frames.

export class App extends EventTarget {
  /** Event "update": something that the buttons and numbers show has changed. */
  constructor() {
    super();
    const onError = (error) => say(error.message, "error");
    this.state = null;
    this.info = null;
    this.sheet = null;
    this.kept = null;
    this.busy = false;
    this.lost = null;
    this.finished = false;
    this.listed = 0;
    this.timer = 0;
    this.stage = new Stage($("stage"));
    this.overlay = new Overlay();
    this.labels = null;
    this.drafts = new DraftSaver({ onError, onSaved: () => this.update() });
    this.objects = new Objects({ painted: (id) => Boolean(this.sheet?.labels.data.includes(id)), onError });
    this.objects.addEventListener("change", () => this.repaint());
    this.objects.addEventListener("remove", ({ detail }) => this.erase(detail));
    this.tools = new Tools(this.host());
    this.stage.preview = (c, scale) => this.tools.preview(c, scale);
    this.film = new Film(this);
    this.timeline = new Timeline($("timeline"), {
      objects: this.objects,
      span: () => (this.isFilm ? [0, this.film.count - 1] : null),
      current: () => (this.isFilm ? this.film.index : null),
    });
    this.live = new Live({
      onFrame: (message) => this.onFrame(message),
      onChange: (pause) => this.setLost(pause),
    });
  }

  /** What the tools may ask of the page. */
  host() {
    return {
      sheet: () => this.sheet,
      objectId: () => this.objects.ensure(),
      scale: () => this.stage.scale,
      changed: (box, done) => this.painted(box, done),
      select: (points) => this.select(points),
      redraw: () => {
        this.stage.redraw();
        this.update();
      },
      say,
    };
  }

  get isFilm() {
    return Boolean(this.state && !this.state.source.live);
  }

  /** `crwedge paint`: the page ends with the first mask. */
  get paintOnly() {
    return this.state?.mode === "paint";
  }

  update() {
    this.dispatchEvent(new Event("update"));
  }

  /** Takes over the server's objects. On a film their states are those of the frame that is shown. */
  adopt() {
    const known = this.isFilm ? this.timeline.at(this.film.index) : null;
    const none = { state: null, confidence: null };
    this.objects.adopt(this.state.objects.map((item) => (known ? { ...item, ...(known[item.id] ?? none) } : item)));
  }

  async start() {
    this.state = await api.state();
    this.adopt();
    this.update();
    if (this.isFilm) await this.film.start(this.state.source);
    else this.live.open();
    await attempt(async () => this.timeline.add((await api.timeline(-1)).frames));
    await attempt(() => this.restore());
    if (this.isFilm && !this.sheet) await this.film.goTo(this.state.frame?.index ?? 0);
    this.poll();
  }

  /** Painted work of an earlier visit comes back. */
  async restore() {
    const draft = await api.draft();
    if (draft.frame_id === null) return;
    if (this.isFilm) {
      const index = Number.parseInt(draft.frame_id, 16); // The id of a film's frame is its number.
      this.film.drafts.set(index, draft.frame_id);
      await this.film.goTo(index);
    } else {
      const labels = await readLabels(await api.readDraft(draft.frame_id));
      await this.openHeld({ ...draft, index: null, width: labels.width, height: labels.height }, labels);
    }
    this.sheet.touched = true;
    say("Your painted work is back.");
  }

  async poll() {
    clearTimeout(this.timer);
    if (this.finished) return;
    try {
      const { recording_error: failed } = this.state;
      this.state = await api.state();
      this.adopt();
      if (this.state.recording_error && this.state.recording_error !== failed) say(this.state.recording_error, "error");
      if (this.isFilm) {
        if (this.lost !== null) this.setLost(null);
        if (this.state.job || this.film.job) await this.pollJob();
      }
    } catch (error) {
      // On a live source the websocket tells whether the server is there.
      if (this.isFilm) this.setLost(POLL / 1000);
      else console.info(error.message);
    }
    this.update();
    this.timer = setTimeout(() => this.poll(), document.hidden ? 5 * POLL : this.film.job ? POLL_JOB : POLL);
  }

  async pollJob() {
    await this.film.setJob(this.state.job ?? null);
    if (!this.film.job || this.state.job?.done % 5 === 0) this.timeline.add((await api.timeline(-1)).frames);
  }

  setLost(pause) {
    const again = this.lost !== null && pause === null;
    this.lost = pause;
    if (again) {
      tell("Connected again");
      if (!this.isFilm) this.poll();
    }
    this.update();
  }

  async onFrame({ info, mask, picture }) {
    this.info = info;
    const known = info.objects.filter((item) => item.state);
    if (known.length) this.timeline.add([{ index: info.index, objects: Object.fromEntries(known.map((item) => [item.id, item])) }]);
    if (performance.now() - this.listed > OBJECTS_EVERY) {
      this.listed = performance.now();
      this.objects.adopt(info.objects);
      this.update();
    }
    if (this.sheet || document.hidden) return;
    const [bitmap, labels] = await Promise.all([createImageBitmap(picture), mask.byteLength ? readLabels(mask) : null]);
    if (this.sheet) {
      bitmap.close();
      return;
    }
    this.labels = labels;
    this.stage.region = $("show-region").checked ? info.region : null;
    this.stage.show(bitmap, info.width, info.height);
    this.repaint();
  }

  /** Shows a frame to paint on. */
  open(sheet, bitmap) {
    this.tools.reset();
    this.sheet = sheet;
    this.labels = sheet.labels;
    this.stage.region = null;
    this.objects.cover(sheet.labels.areas());
    if (this.isFilm) this.adopt();
    this.stage.show(bitmap, sheet.labels.width, sheet.labels.height);
    this.repaint();
    this.timeline.redraw();
    this.update();
  }

  /** `held`: {frame_id, index, width, height} of a frame that the server holds. */
  async openHeld({ frame_id, index, width, height }, labels) {
    const bitmap = await createImageBitmap(new Blob([await api.framePicture(frame_id)]));
    this.open(new Sheet({ frameId: frame_id, index, width, height, labels }), bitmap);
  }

  repaint(box = null) {
    const shown = this.labels && $("show-masks").checked;
    this.stage.overlay = shown ? this.overlay.canvas : null;
    if (shown) this.overlay.paint(this.labels, this.objects.looks(), box);
    if (!box) this.placeTags();
    this.stage.redraw();
    this.timeline.redraw();
  }

  placeTags() {
    const named = this.labels && $("show-names").checked;
    const places = named ? tagPlaces(this.labels) : new Map();
    this.stage.tags = [...places].map(([id, { x, y }]) => {
      const item = this.objects.get(id);
      const share = !this.sheet && item?.confidence != null ? ` ${Math.round(100 * item.confidence)} %` : "";
      const doubt = !this.sheet && item?.state && item.state !== "ok" ? ` · ${item.state}` : "";
      return { x: x * this.stage.width, y: y * this.stage.height, text: `${item?.name ?? id}${share}${doubt}`, colour: item?.color ?? "#888888" };
    });
  }

  showBrush(place) {
    const brush = this.tools.name === "brush" || this.tools.name === "eraser";
    this.stage.brush = place && this.sheet && brush ? { ...place, radius: this.tools.size / 2 } : null;
    this.stage.redraw();
  }

  press(place, options) {
    if (this.sheet) this.tools.press(place, options);
    else if (this.tools.name !== "hand") say("Freeze the picture first, then paint on it.");
  }

  painted(box, done) {
    this.repaint(box);
    if (!done) return;
    this.placeTags();
    this.drafts.touch(this.sheet);
    this.update();
  }

  async select(points) {
    const { sheet } = this;
    await sheet.hold();
    const mask = await readLabels(await api.select(sheet.frameId, points, Number($("tolerance").value)));
    return mask.data;
  }

  /** An object is gone: so are its pixels on the sheet. */
  erase(id) {
    if (this.isFilm && !this.sheet?.touched) this.film.reload();
    else if (this.sheet?.labels.data.includes(id)) {
      const { labels } = this.sheet;
      this.tools.step(() => {
        labels.data.forEach((value, at) => value === id && (labels.data[at] = 0));
        return [0, 0, labels.width, labels.height];
      });
    }
  }

  /** Only one of the actions below runs at a time. */
  async alone(action) {
    if (this.busy) return;
    this.busy = true;
    this.update();
    await attempt(action);
    this.busy = false;
    this.update();
  }

  freeze() {
    return this.alone(async () => {
      const held = await api.freeze();
      await this.openHeld(held, await readLabels(await api.frameLabels(held.frame_id)));
      tell(`Frame ${held.index} is frozen. Paint on it.`);
    });
  }

  /** Back to the live picture. What was painted is kept. */
  thaw() {
    if (!this.sheet || this.isFilm) return;
    attempt(() => this.drafts.flush());
    this.kept = this.sheet.touched ? { sheet: this.sheet } : this.kept;
    this.leave();
  }

  leave() {
    this.tools.reset();
    this.sheet = this.labels = null;
    this.showBrush(null);
    this.repaint();
    this.update();
  }

  resume() {
    return this.alone(async () => {
      const { sheet } = this.kept;
      this.open(sheet, await createImageBitmap(new Blob([await api.framePicture(sheet.frameId)])));
      this.kept = null;
    });
  }

  /** Starts tracking with the painted masks, or corrects with them. `replace`: objects that are not painted end. */
  track(replace) {
    if (!this.sheet || (this.isFilm && !this.paintOnly)) return null;
    return this.alone(async () => {
      const { sheet } = this;
      const began = !this.state.tracking || replace;
      const gone = began ? [] : await sheet.erased();
      const erased = this.objects.list.filter(({ id, state }) => state && gone.includes(id));
      const painted = sheet.labels.data.some((id) => id);
      if (!painted && !erased.length) return say("Paint an object first.", "error");
      const question = `Stop following ${erased.map(({ name }) => name).join(", ")}? It was erased completely from this frame.`;
      const ends = erased.length > 0 && (await confirmed(question, "Remove"));
      if (!painted && !ends) return;
      await this.objects.flush();
      this.drafts.touch(sheet);
      await this.drafts.flush();
      if (painted) await api.apply(sheet.frameId, replace);
      for (const { id } of ends ? erased : []) {
        await api.removeObject(id);
        this.objects.drop(id);
      }
      if (this.paintOnly) {
        this.finish();
        return;
      }
      if (began) this.timeline.clear();
      this.kept = null;
      this.leave();
      say(began ? "Tracking." : "The correction is applied.");
      await this.poll();
    });
  }

  /** The mask is handed over: nothing is left to do here. */
  finish() {
    this.finished = true;
    this.live.close();
    clearTimeout(this.timer);
    tell("The mask is saved. You can close this page.");
    this.update();
  }

  stop() {
    return this.alone(async () => {
      await api.stop();
      await this.poll();
    });
  }

  record() {
    return this.alone(async () => {
      await api.record(!this.state.recording);
      await this.poll();
    });
  }
}
