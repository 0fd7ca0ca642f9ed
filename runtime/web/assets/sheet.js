// A frame that is painted on, and the saving of what is painted.

import { api } from "/assets/api.js";
import { History } from "/assets/history.js";
import { decodeLabels, encodeLabels } from "/assets/png.js";
import { LabelMap, resizeLabels } from "/assets/labels.js";

const PAUSE = 500; // ms without a stroke before the work is sent.

export class Sheet {
  /** `frameId`: the frame that the server holds; null for a frame of a file that is not held yet. */
  constructor({ frameId, index, width, height, labels }) {
    this.frameId = frameId;
    this.index = index;
    this.labels = resizeLabels(labels ?? new LabelMap(width, height), width, height);
    this.history = new History(this.labels);
    this.touched = false;
    this.changes = 0;
    this.saved = 0;
    this.holding = null;
  }

  /** Lets the server hold this frame of a file. */
  async hold() {
    if (this.frameId !== null) return;
    this.holding ??= api.freeze(this.index);
    try {
      this.frameId = (await this.holding).frame_id;
    } finally {
      this.holding = null;
    }
  }

  /** Ids that the held frame came with and that nothing is left of. */
  async erased() {
    const before = (await readLabels(await api.frameLabels(this.frameId))).areas();
    const now = this.labels.areas();
    return [...before.keys()].filter((id) => before[id] && !now[id]);
  }
}

export async function readLabels(buffer) {
  const { width, height, data } = await decodeLabels(buffer);
  return new LabelMap(width, height, data);
}

/** Sends painted work to the server after each pause, one request at a time. */
export class DraftSaver {
  /** `onSaved()`: all that is painted is on the server. */
  constructor({ onError, onSaved }) {
    this.onError = onError;
    this.onSaved = onSaved;
    this.timer = 0;
    this.sheet = null;
    this.running = null;
  }

  touch(sheet) {
    sheet.touched = true;
    sheet.changes++;
    this.sheet = sheet;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush().catch(this.onError), PAUSE);
  }

  /** Resolves when all that is painted is on the server. */
  async flush({ keepalive = false } = {}) {
    clearTimeout(this.timer);
    while (this.running) await this.running.catch(() => {});
    const { sheet } = this;
    if (!sheet || sheet.saved === sheet.changes) return;
    this.running = this.send(sheet, keepalive);
    try {
      await this.running;
    } finally {
      this.running = null;
    }
    if (sheet.saved !== sheet.changes) await this.flush({ keepalive });
  }

  async send(sheet, keepalive) {
    const { changes } = sheet;
    await sheet.hold();
    await api.saveDraft(sheet.frameId, await encodeLabels(sheet.labels), keepalive);
    sheet.saved = changes;
    if (sheet.saved === sheet.changes) this.onSaved();
  }
}
