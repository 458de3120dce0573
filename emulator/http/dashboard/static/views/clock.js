// The clock: turn it by hand and see what that sets off.

import { button, field, h } from "../dom.js";
import { ago, chip, clockTime, moment } from "../format.js";
import { clock, isManual, nextDueAt, nowAt, readClock, turn } from "../time.js";
import { attempt } from "../toast.js";

const STEPS = ["1m", "10m", "1h", "24h", "7d"];

export async function show({ root, signal, on }) {
  await readClock();
  const face = h("p", { class: "big-clock", role: "timer" });
  const due = h("p", { class: "soft" });
  const log = h("ol", {
    class: "log-lines",
    "aria-label": "What it set off",
    data: { empty: "Nothing yet." },
  });
  const draw = () => {
    face.textContent = new Date(nowAt()).toISOString().replace("T", " ").replace("Z", " UTC");
    due.replaceChildren(
      ...(nextDueAt()
        ? ["Next due ", ago(nextDueAt()), ` (${clockTime(nextDueAt())})`]
        : ["Nothing is due."]),
    );
  };
  const told = (answer) => `Attempts made: ${answer.delivered}, schedules fired: ${answer.fired}`;
  const go = (path, body) => async () => {
    await attempt(() => turn(path, body), told);
  };

  const by = h("input", { type: "text", placeholder: "1d10h30m", name: "by", value: "24h" });
  const controls = isManual()
    ? h(
        "div",
        { class: "stack" },
        h(
          "div",
          { class: "row" },
          STEPS.map((step) => button(`+${step}`, go("advance", { by: step }), { act: step })),
          button(
            "To what is due next",
            async () => {
              const due = nextDueAt();
              if (due) await go("advance", { to: Math.max(due, nowAt()) })();
            },
            { act: "next" },
          ),
          button("Until idle", go("run-until-idle", {}), { kind: "primary", act: "idle" }),
        ),
        h(
          "form",
          {
            class: "row",
            onsubmit: (event) => {
              event.preventDefault();
              go("advance", { by: by.value.trim() })();
            },
          },
          field("Turn by", by),
          h("button", { class: "button", type: "submit" }, "Turn"),
        ),
        h(
          "p",
          { class: "quiet" },
          "The clock jumps from due time to due time and waits for every delivery. Signatures keep the real time, because receivers check them against their own clocks.",
        ),
      )
    : h(
        "p",
        { class: "notice" },
        "This server follows the machine's clock. Start it with ",
        h("code", {}, "qstash-emulator dev --clock manual"),
        " to turn the time by hand; a day of retries then passes in milliseconds.",
      );

  root.append(
    h(
      "div",
      { class: "head" },
      h("h1", {}, "Clock"),
      h("span", { class: "chip" }, isManual() ? "manual" : "system"),
    ),
    h("section", { class: "card" }, h("div", { class: "body stack" }, face, due, controls)),
    h(
      "section",
      { class: "card" },
      h("header", {}, h("h2", {}, "What it sets off"), h("span", { class: "more" }, "live")),
      h("div", { class: "body" }, log),
    ),
  );

  on("step", (step) => {
    log.prepend(
      h(
        "li",
        {},
        moment(step.time, { millis: true }),
        chip(step.state),
        h(
          "a",
          { href: `#/messages/${step.messageId}` },
          step.scheduleId ? `${step.scheduleId} → ${step.url}` : step.url,
        ),
      ),
    );
    while (log.children.length > 200) log.lastChild.remove();
  });
  on("changed", () => readClock().catch(() => {}));
  clock.addEventListener("turned", draw, { signal });
  const timer = setInterval(() => !isManual() && draw(), 500);
  signal.addEventListener("abort", () => clearInterval(timer));
  draw();
}
