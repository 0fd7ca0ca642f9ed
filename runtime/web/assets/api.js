// The server's API. Every error is an ApiError whose message is the server's one sentence.

const NO_ANSWER = "The server does not answer. Check that crwedge serve is running.";

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

let askLogin = null;
/** `handler()` is called when the server wants a token; it resolves when the person has logged in. */
export function onLoginNeeded(handler) {
  askLogin = handler;
}

export async function request(method, path, { json, body, keepalive = false } = {}) {
  const headers = { "X-Requested-With": "crwedge" };
  if (json !== undefined) headers["Content-Type"] = "application/json";
  else if (body) headers["Content-Type"] = body.type;
  let response;
  try {
    response = await fetch(path, {
      method, headers, keepalive, credentials: "same-origin", cache: "no-store",
      body: json !== undefined ? JSON.stringify(json) : body,
    });
  } catch {
    throw new ApiError(NO_ANSWER, 0);
  }
  if (response.ok) return response;
  if (response.status === 401 && path !== "/api/login" && askLogin) {
    await askLogin();
    return request(method, path, { json, body, keepalive });
  }
  throw new ApiError(await sentence(response), response.status);
}

async function sentence(response) {
  try {
    const { detail } = await response.json();
    if (typeof detail === "string" && detail) return `${detail[0].toUpperCase()}${detail.slice(1)}${/[.!?]$/.test(detail) ? "" : "."}`;
  } catch {
    // No JSON: the status says all there is.
  }
  return `The server answered with error ${response.status}. Try again, or look at its log.`;
}

const read = async (path) => (await request("GET", path)).json();
const bytes = async (method, path, options) => (await request(method, path, options)).arrayBuffer();
const send = (method, path, json) => request(method, path, { json });

export const api = {
  login: (token) => send("POST", "/api/login", { token }),
  state: () => read("/api/state"),
  timeline: (since) => read(`/api/timeline?since=${since}`),
  freeze: async (frame = null) => (await send("POST", "/api/freeze", frame === null ? {} : { frame })).json(),
  framePicture: (id) => bytes("GET", `/api/frames/${id}.png`),
  frameLabels: (id) => bytes("GET", `/api/frames/${id}/labels.png`),
  select: (id, points, tolerance) => bytes("POST", `/api/frames/${id}/select`, { json: { points, tolerance } }),
  draft: () => read("/api/draft"),
  readDraft: (id) => bytes("GET", `/api/frames/${id}/draft`),
  saveDraft: (id, png, keepalive) => request("PUT", `/api/frames/${id}/draft`, { body: png, keepalive }),
  saveObjects: (objects) => send("PUT", "/api/objects", objects),
  removeObject: (id) => request("DELETE", `/api/objects/${id}`),
  apply: async (id, replace) => (await send("POST", `/api/frames/${id}/apply`, { replace })).json(),
  stop: () => send("POST", "/api/stop", {}),
  record: (on) => send("POST", "/api/recording", { on }),
  filmPicture: (index) => bytes("GET", `/api/video/frames/${index}.jpg`),
  filmLabels: (index) => bytes("GET", `/api/video/labels/${index}.png`),
  filmMarks: () => read("/api/video/labels"),
  propagate: (id, direction) => send("POST", "/api/video/propagate", { frame_id: id, direction }),
  cancel: () => send("POST", "/api/video/cancel", {}),
};
