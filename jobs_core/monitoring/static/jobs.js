// What the jobs page does beside what the server drew: it stays live, answers the keyboard, acts on many jobs at once
// and draws the attempts. Without it the page shows and does the same, but for these.

import { h } from "./dom.js";
import { picture } from "./parts/picture.js";

const EVERY_MS = 2000;
const live = document.querySelector(".live");

/** Bring what may have changed up to date; what is chosen, opened or focused stays. */
async function refresh() {
  if (document.hidden || document.querySelector("details[open], select:focus, dialog[open]")) return;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]"))
      replace(/** @type {HTMLElement} */ (part), fresh);
    mark(true);
  } catch {
    mark(false);
  }
}

/** The boxes that choose jobs, within `part`. @param {ParentNode} part */
const boxes = (part) =>
  /** @type {NodeListOf<HTMLInputElement>} */ (part.querySelectorAll("tbody input[type=checkbox]"));

/** @param {HTMLElement} part @param {Document} fresh */
function replace(part, fresh) {
  const found = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
  if (!found || found.innerHTML === part.dataset.drawn) return;
  const drawn = found.innerHTML;
  const chosen = new Set([...part.querySelectorAll("input:checked")].map((box) => box.getAttribute("value")));
  const focus = part.contains(document.activeElement) ? document.activeElement?.id : "";
  part.replaceChildren(...found.childNodes);
  part.dataset.drawn = drawn;
  for (const box of boxes(part)) box.checked = chosen.has(box.value);
  if (focus) document.getElementById(focus)?.focus();
  chooseAll();
  draw();
}

function mark(isOn) {
  if (!live) return;
  live.setAttribute("data-on", String(isOn));
  const words = live.querySelector("span");
  if (words) words.textContent = isOn ? "live" : "reconnecting";
}

/** The attempts on a time axis, as the server told them. */
function draw() {
  const host = /** @type {HTMLElement | null} */ (document.getElementById("picture"));
  if (!host?.dataset.story) return;
  const pick = (number) => document.getElementById(`attempt-${number}`)?.scrollIntoView({ block: "center" });
  host.replaceChildren(picture(JSON.parse(host.dataset.story), { picked: null, onPick: pick }));
}

function keys(event) {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || target.matches("input, select, textarea")) return;
  const search = document.getElementById("search");
  if (event.key === "/" && search) {
    event.preventDefault();
    search.focus();
  } else if (event.key === "j" || event.key === "k") {
    const links = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("tbody a.job")]);
    const here = links.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    links[Math.min(Math.max(here + (event.key === "j" ? 1 : -1), 0), links.length - 1)]?.focus();
  }
}

/** Choosing all that are shown. */
function chooseAll() {
  const head = document.querySelector("thead th");
  if (!head || !document.querySelector("tbody input[type=checkbox]")) return;
  const box = h("input", {
    type: "checkbox",
    "aria-label": "Choose all that are shown",
    onchange: () => {
      for (const one of boxes(document)) one.checked = box.checked;
    },
  });
  head.replaceChildren(box);
}

function themeButton() {
  const root = document.documentElement;
  const isDark = () =>
    (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) ===
    "dark";
  const made = h(
    "button",
    {
      class: "button plain",
      type: "button",
      "aria-label": "Light or dark",
      onclick: () => {
        root.dataset.theme = isDark() ? "light" : "dark";
        try {
          localStorage.setItem("qstash.theme", root.dataset.theme);
        } catch {
          // The choice lasts as long as the page.
        }
      },
    },
    "◐",
  );
  document.querySelector(".bar")?.append(made);
}

document.addEventListener("keydown", keys);
themeButton();
chooseAll();
draw();
if (live) setInterval(refresh, EVERY_MS);
