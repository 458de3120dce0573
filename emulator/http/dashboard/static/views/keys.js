// Signing keys: the pair that receivers must know, and what a rotation does to it.

import { get, post } from "../api.js";
import { button, h, throttle } from "../dom.js";
import { currentToken, server } from "../session.js";
import { attempt, copy } from "../toast.js";

export async function show({ root, signal, on }) {
  const content = h("div", { class: "stack" });
  root.append(h("div", { class: "head" }, h("h1", {}, "Signing keys")), content);

  async function refresh() {
    const keys = await get("/v2/keys", { signal });
    content.replaceChildren(card(keys, refresh), environment(keys));
  }
  const soon = throttle(() => refresh().catch(() => {}), 400);
  on("changed", (kinds) => kinds.includes("keys") && soon());
  await refresh();
}

function card(keys, refresh) {
  const dialog = rotation(refresh);
  const key = (name, value, words) =>
    h(
      "div",
      {},
      h("dt", {}, name),
      h(
        "dd",
        {},
        h(
          "span",
          { class: "mono" },
          value,
          " ",
          button("Copy", () => copy(value), { kind: "small plain", title: `Copy the ${name.toLowerCase()}` }),
        ),
        h("div", { class: "quiet" }, words),
      ),
    );
  return h(
    "section",
    { class: "card" },
    h(
      "header",
      {},
      h("h2", {}, "The pair"),
      h(
        "span",
        { class: "more" },
        button("Rotate…", () => dialog.showModal(), { kind: "small", act: "rotate" }),
      ),
    ),
    h(
      "div",
      { class: "body" },
      h(
        "dl",
        { class: "stack" },
        key("Current key", keys.current, "Every delivery is signed with it."),
        key("Next key", keys.next, "Receivers accept it already; it signs after the next rotation."),
      ),
    ),
    dialog,
  );
}

function rotation(refresh) {
  const dialog = h(
    "dialog",
    { "aria-label": "Rotate the keys" },
    h(
      "div",
      { class: "stack" },
      h("h2", {}, "Rotate the keys?"),
      h(
        "p",
        {},
        "The next key becomes the current one, and a new next key is made. Receivers that know today's pair go on verifying; after a second rotation they would not.",
      ),
      h(
        "div",
        { class: "row" },
        button(
          "Rotate",
          async () => {
            await attempt(() => post("/v2/keys/rotate"), "Rotated. Tell your receivers the new pair");
            dialog.close();
            await refresh();
          },
          { kind: "primary" },
        ),
        button("Leave it", () => dialog.close()),
      ),
    ),
  );
  return dialog;
}

function environment(keys) {
  const text = `QSTASH_URL="${server.url}"\nQSTASH_TOKEN="${currentToken() ?? ""}"\nQSTASH_CURRENT_SIGNING_KEY="${keys.current}"\nQSTASH_NEXT_SIGNING_KEY="${keys.next}"`;
  return h(
    "section",
    { class: "card" },
    h(
      "header",
      {},
      h("h2", {}, "For an app's .env"),
      h(
        "span",
        { class: "more" },
        button("Copy", () => copy(text), { kind: "small" }),
      ),
    ),
    h(
      "div",
      { class: "body" },
      h("pre", { class: "code wrap", tabindex: "0", role: "region", "aria-label": "Variables" }, text),
    ),
  );
}
