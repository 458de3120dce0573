// Short words about what was done, and what went wrong.

import { byId, h } from "./dom.js";

export function say(text, kind = "") {
  const toast = h("div", { class: `toast ${kind}` }, text);
  byId("toasts").append(toast);
  setTimeout(() => toast.remove(), kind === "bad" ? 9000 : 3500);
}

/** Carry out an action; say what came of it. Answers undefined when it failed. */
export async function attempt(action, done) {
  try {
    const answer = await action();
    if (done) say(typeof done === "function" ? done(answer) : done);
    return answer;
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, "bad");
    return undefined;
  }
}

/** Copy text, and say so. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch {
    say("The browser does not let this page copy; select the text instead", "bad");
  }
}
