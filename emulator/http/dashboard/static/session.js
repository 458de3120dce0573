// Whose messages are shown: the token, kept in this browser for this server alone.

import { button, field, h } from "./dom.js";

const KEY = "qstash.token";
/** What the server says of itself. `users`: the published test users, offered on loopback alone. */
export const server = {
  version: "",
  clock: "system",
  url: location.origin,
  jobsUrl: /** @type {string | null} */ (null),
  users: /** @type {{name: string, token: string}[]} */ ([]),
};

let token = read();

function read() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

export const currentToken = () => token;

export function useToken(value) {
  token = value;
  try {
    localStorage.setItem(KEY, value);
  } catch {
    // Without storage the token lives as long as the page.
  }
}

export function forgetToken() {
  token = null;
  try {
    localStorage.removeItem(KEY);
  } catch {
    // It was never stored.
  }
  window.dispatchEvent(new Event("signed-out"));
}

/** Ask the server what it is. On loopback it offers the published users; the first is taken if nobody chose before. */
export async function begin() {
  const answer = await fetch("/emulator/session", { credentials: "omit" });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error);
  Object.assign(server, body);
  if (!token && server.users.length) token = server.users[0].token;
}

/** The name of whose token is in use. */
export const currentName = () => server.users.find((user) => user.token === token)?.name ?? "own token";

/** The form that asks for a token. */
export function door(onEnter) {
  const input = h("input", {
    type: "password",
    id: "token",
    name: "token",
    autocomplete: "off",
    required: true,
  });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const enter = async (value) => {
    problem.hidden = true;
    const answer = await fetch("/emulator/clock", {
      headers: { Authorization: `Bearer ${value}` },
      credentials: "omit",
    });
    if (!answer.ok) {
      problem.textContent = answer.status === 401 ? "Nobody has this token." : (await answer.json()).error;
      problem.hidden = false;
      return;
    }
    useToken(value);
    onEnter();
  };
  const form = h(
    "form",
    {
      class: "card",
      onsubmit: (event) => {
        event.preventDefault();
        enter(input.value.trim());
      },
    },
    h(
      "div",
      { class: "body stack" },
      field("Token", input, "QSTASH_TOKEN, as the server printed it, or a tenant's own"),
      problem,
      h("div", { class: "row" }, h("button", { class: "button primary", type: "submit" }, "Show me")),
    ),
  );
  const offers = server.users.map((user) => button(user.name, () => enter(user.token)));
  return h(
    "section",
    { class: "door" },
    h("h1", {}, "Whose messages?"),
    form,
    offers.length
      ? h(
          "div",
          { class: "stack" },
          h("p", { class: "quiet" }, "Or one of the published test users:"),
          h("div", { class: "row" }, offers),
        )
      : null,
  );
}
