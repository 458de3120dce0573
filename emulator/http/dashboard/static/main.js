// Starts the page: the frame, the session, the pages by their address, the keyboard.

import { button, byId, h } from "./dom.js";
import { clockTime } from "./format.js";
import { frame } from "./frame.js";
import { installKeyboard } from "./keyboard.js";
import { connect, disconnect, onLive } from "./live.js";
import { find, pages } from "./pages.js";
import { begin, currentToken, door } from "./session.js";
import { clock, isManual, nowAt, readClock } from "./time.js";
import { say } from "./toast.js";

const main = byId("main");
let leaving = new AbortController();

async function show() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const [path, search] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/").filter(Boolean).map(decodeURIComponent);
  const page = find(name);
  frame.mark(page.name);
  document.title = `${page.title} · QStash emulator`;
  const root = h("div", { class: "page" });
  const context = {
    root,
    signal,
    params: rest,
    query: new URLSearchParams(search ?? ""),
    on: listener(signal),
  };
  main.replaceChildren(root);
  if (!currentToken()) {
    main.replaceChildren(door(start));
    return;
  }
  try {
    const view = await page.load();
    if (signal.aborted) return;
    await view.show(context);
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    if (error.status === 401) return;
    root.replaceChildren(
      h(
        "div",
        { class: "stack" },
        h("h1", {}, page.title),
        h("p", { class: "problem", role: "alert" }, error.message),
        h("p", {}, button("Try again", show)),
      ),
    );
  }
}

/** Listen to live events for as long as the page is shown. */
function listener(signal) {
  return (name, action) => onLive(name, action, signal);
}

async function start() {
  frame.draw();
  connect();
  try {
    await readClock();
  } catch {
    // The pages say what is wrong.
  }
  await show();
}

async function boot() {
  try {
    await begin();
  } catch (error) {
    main.replaceChildren(
      h("p", { class: "problem", role: "alert" }, error.message || "the server does not answer"),
    );
    return;
  }
  window.addEventListener("hashchange", async () => {
    await show();
    main.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  });
  window.addEventListener("signed-out", () => {
    leaving.abort();
    disconnect();
    frame.draw();
    main.replaceChildren(door(start));
  });
  window.addEventListener("user-changed", start);
  installKeyboard(pages);
  await start();
}

// What an event's own handler could not do: nobody waits for it, so it is said here. A call that was given up because
// its page was left is no failure.
window.addEventListener("unhandledrejection", (event) => {
  const { reason } = event;
  if (reason?.name !== "AbortError" && reason?.status === undefined) return;
  event.preventDefault();
  if (reason.name !== "AbortError" && reason.status !== 401) say(reason.message, "bad");
});

clock.addEventListener("turned", () => frame.setClock(isManual() ? clockTime(nowAt()) : null));
onLive("state", (isOn) => frame.setLive(isOn));
boot();
