// Small parts of the page: messages, dialogs, theme.

import { api } from "/assets/api.js";

export const $ = (id) => document.getElementById(id);

/** Shows a message, and speaks it to screen readers. Errors stay longer. */
export function say(text, kind = "info") {
  const toast = document.createElement("p");
  toast.className = "toast";
  toast.dataset.kind = kind;
  toast.textContent = text;
  if (kind === "error") toast.setAttribute("role", "alert");
  else tell(text);
  const same = [...$("toasts").children].find((item) => item.textContent === text);
  same?.remove();
  $("toasts").append(toast);
  while ($("toasts").childElementCount > 3) $("toasts").firstElementChild.remove();
  toast.addEventListener("click", () => toast.remove());
  setTimeout(() => toast.remove(), kind === "error" ? 10000 : 4000);
}

/** Speaks to screen readers only. */
export function tell(text) {
  $("says").textContent = text;
}

/** Runs an action of the person; what goes wrong is shown in its one sentence. Resolves to null then. */
export async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    say(error.message, "error");
    if (error.status === undefined) console.warn(error);
    return null;
  }
}

export function setButton(button, { label, icon, pressed, disabled, hidden }) {
  if (label !== undefined && button.querySelector("span")) button.querySelector("span").textContent = label;
  if (icon !== undefined) button.querySelector("use").setAttribute("href", `#i-${icon}`);
  if (pressed !== undefined) button.setAttribute("aria-pressed", String(pressed));
  if (disabled !== undefined) button.disabled = disabled;
  if (hidden !== undefined) button.hidden = hidden;
}

/** Asks before something that cannot be undone. */
export function confirmed(text, yes) {
  const dialog = $("confirm");
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

let login = null;
/** Resolves when the person has logged in. A token behind the "#" of the address is used first, and taken away from there. */
export async function askLogin() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    history.replaceState(null, "", location.pathname);
    try {
      await api.login(given);
      return;
    } catch (error) {
      $("login-error").textContent = error.message;
    }
  }
  await askToken();
}

function askToken() {
  login ??= new Promise((resolve) => {
    const dialog = $("login");
    const form = dialog.querySelector("form");
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        await api.login($("token").value.trim());
        $("token").value = $("login-error").textContent = "";
        dialog.close();
        login = null;
        resolve();
      } catch (error) {
        $("login-error").textContent = error.message;
      }
    });
    dialog.showModal();
  });
  return login;
}

const THEMES = { auto: "as the system", light: "light", dark: "dark" };

export function wireTheme() {
  const names = Object.keys(THEMES);
  const read = () => document.documentElement.dataset.theme ?? "auto";
  const label = () => {
    $("theme").setAttribute("aria-label", `Theme: ${THEMES[read()]}`);
    $("theme").title = `Theme: ${THEMES[read()]}`;
  };
  $("theme").addEventListener("click", () => {
    const next = names[(names.indexOf(read()) + 1) % names.length];
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("crwedge-theme", next);
    } catch {
      // It holds until the page is closed.
    }
    label();
    tell(`Theme: ${THEMES[next]}`);
    document.dispatchEvent(new Event("themechange"));
  });
  label();
}

/** A colour token of the style sheet, as the browser has computed it. */
export function token(name) {
  const probe = $("says");
  probe.style.color = `var(--${name})`;
  const colour = getComputedStyle(probe).color;
  probe.style.color = "";
  return colour;
}
