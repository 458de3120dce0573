// What stands around every page: the bar with the clock and whose messages these are, and the navigation.

import { button, byId, h } from "./dom.js";
import { clockTime, count } from "./format.js";
import { onLive } from "./live.js";
import { pages } from "./pages.js";
import { currentName, currentToken, forgetToken, server, useToken } from "./session.js";
import { isManual, nowAt } from "./time.js";

const liveMark = h(
  "span",
  { class: "live", data: { on: "false" }, title: "Whether changes are shown as they happen" },
  h("i"),
  h("span", {}, "connecting"),
);
const clockLink = h("a", { class: "clock-link", href: "#/clock", hidden: true, title: "The manual clock" });
const dlqCount = h("span", { class: "count" });
const nav = byId("nav");

function draw() {
  byId("bar").replaceChildren(
    button("☰", () => toggleMenu(), { kind: "plain menu-button", title: "Pages" }),
    h(
      "a",
      { class: "brand", href: "#/overview", "aria-label": "QStash emulator, overview" },
      h("img", { src: "/emulator/static/icon.svg", alt: "" }),
      h("span", {}, "QStash emulator"),
    ),
    h("span", { class: "grow" }),
    clockLink,
    liveMark,
    whoSelect(),
    themeButton(),
    button("?", () => window.dispatchEvent(new Event("show-help")), {
      kind: "plain",
      title: "Keyboard help",
    }),
  );
  menuButton()?.setAttribute("aria-expanded", "false");
  menuButton()?.setAttribute("aria-label", "Pages");
  nav.replaceChildren(
    ...pages.map((page) =>
      h(
        "a",
        { href: `#/${page.name}`, data: { page: page.name }, onclick: closeMenu },
        page.title,
        page.name === "dlq" ? dlqCount : null,
      ),
    ),
    ...(server.jobsUrl ? [h("hr"), h("a", { href: server.jobsUrl, rel: "noreferrer" }, "Jobs ↗")] : []),
    h("div", { class: "foot" }, `version ${server.version}`),
  );
  setClock(isManual() ? clockTime(nowAt()) : null);
  dlqCount.textContent = "";
}

function mark(name) {
  closeMenu();
  for (const link of /** @type {NodeListOf<HTMLElement>} */ (nav.querySelectorAll("a[data-page]"))) {
    if (link.dataset.page === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

const menuButton = () => document.querySelector(".menu-button");

function toggleMenu() {
  const isOpen = nav.classList.toggle("open");
  menuButton()?.setAttribute("aria-expanded", String(isOpen));
}

function closeMenu() {
  nav.classList.remove("open");
  menuButton()?.setAttribute("aria-expanded", "false");
}

function whoSelect() {
  if (!currentToken()) return null;
  const names = server.users.map((user) =>
    h("option", { value: user.token, selected: user.token === currentToken() }, user.name),
  );
  if (!server.users.some((user) => user.token === currentToken()))
    names.push(h("option", { value: currentToken(), selected: true }, currentName()));
  names.push(h("option", { value: "" }, "another token…"));
  return h(
    "select",
    {
      class: "who",
      "aria-label": "Whose messages",
      onchange: (event) => {
        if (!event.target.value) return forgetToken();
        useToken(event.target.value);
        window.dispatchEvent(new Event("user-changed"));
      },
    },
    names,
  );
}

function themeButton() {
  const root = document.documentElement;
  const isDark = () =>
    (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) ===
    "dark";
  const made = button(
    isDark() ? "☀" : "☾",
    () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      made.textContent = isDark() ? "☀" : "☾";
      try {
        localStorage.setItem("qstash.theme", root.dataset.theme);
      } catch {
        // The choice lasts as long as the page.
      }
    },
    { kind: "plain", title: "Light or dark" },
  );
  made.setAttribute("aria-label", "Light or dark");
  return made;
}

function setClock(text) {
  clockLink.hidden = text === null;
  clockLink.textContent = text ?? "";
}

function setLive(isOn) {
  liveMark.dataset.on = String(isOn);
  liveMark.lastChild.textContent = isOn ? "live" : "reconnecting";
}

onLive("deadLetters", (detail) => {
  dlqCount.textContent = detail ? count(detail) : "";
});

export const frame = { draw, mark, setClock, setLive };
