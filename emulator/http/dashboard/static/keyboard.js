// Everything by keyboard: g and a letter goes to a page, / to the search, j and k through a list, ? says so.

import { button, h } from "./dom.js";

export function installKeyboard(pages) {
  let isGoing = false;
  const help = helpDialog(pages);
  document.body.append(help);
  window.addEventListener("show-help", () => help.showModal());
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || help.open) return;
    if (isGoing) {
      isGoing = false;
      const page = pages.find((one) => one.key === event.key);
      if (page) {
        event.preventDefault();
        location.hash = `#/${page.name}`;
      }
      return;
    }
    if (event.key === "g") {
      isGoing = true;
      setTimeout(() => (isGoing = false), 1500);
    } else if (event.key === "/") {
      const search = /** @type {HTMLElement | null} */ (document.querySelector("[data-search]"));
      if (search) {
        event.preventDefault();
        search.focus();
      }
    } else if (event.key === "?") help.showModal();
    else if (event.key === "j" || event.key === "k") {
      document
        .querySelector("[data-moves]")
        ?.dispatchEvent(new CustomEvent("move", { detail: event.key === "j" ? 1 : -1 }));
    }
  });
}

const isTyping = (element) => element.matches?.("input, textarea, select, [contenteditable]");

function helpDialog(pages) {
  const keys = [
    ...pages.map((page) => [["g", page.key], page.title]),
    [["/"], "Search messages"],
    [["j"], "Next message"],
    [["k"], "Message before"],
    [["?"], "This help"],
  ];
  const dialog = h(
    "dialog",
    { "aria-label": "Keyboard" },
    h("h2", {}, "Keyboard"),
    h(
      "table",
      {},
      h(
        "tbody",
        {},
        keys.map(([strokes, words]) =>
          h(
            "tr",
            {},
            h(
              "th",
              { scope: "row" },
              strokes.map((stroke) => [h("kbd", {}, stroke), " "]),
            ),
            h("td", {}, words),
          ),
        ),
      ),
    ),
    h(
      "div",
      { class: "row" },
      button("Close", () => dialog.close()),
    ),
  );
  return dialog;
}
