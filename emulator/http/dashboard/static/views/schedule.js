// One schedule: its week, the list of its next firings, and the messages it made.

import { get } from "../api.js";
import { focused, h, throttle } from "../dom.js";
import { ago, chip, moment } from "../format.js";
import { bodyView, headerLines, pairsOf } from "../parts/body.js";
import { strip } from "../parts/strip.js";
import { headOf, lastRun } from "./schedules.js";

export async function show({ root, signal, params, on }) {
  const id = params[0];

  async function refresh() {
    let one;
    try {
      one = await get(`/schedules/${encodeURIComponent(id)}`, { signal });
    } catch (error) {
      if (error.status === 404) location.hash = "#/schedules";
      throw error;
    }
    const act = focused()?.dataset.act;
    root.replaceChildren(...page(one, () => refresh().catch(() => {})));
    if (act) root.querySelector(`[data-act="${act}"]`)?.focus();
  }
  const soon = throttle(() => refresh().catch(() => {}), 400);
  on("changed", (kinds) => kinds.includes("schedules") && soon());
  on("step", (step) => step.scheduleId === id && soon());
  await refresh();
}

function page(one, refresh) {
  const { schedule, firings, firingsLocal, history, now } = one;
  return [
    h("div", { class: "head" }, h("h1", { class: "grow break" }, schedule.scheduleId)),
    h(
      "section",
      { class: "card" },
      h(
        "div",
        { class: "schedule" },
        headOf(one, refresh, { isAlone: true }),
        strip(one, now),
        lastRun(schedule),
      ),
    ),
    h(
      "div",
      { class: "cards" },
      h(
        "section",
        { class: "card" },
        h("header", {}, h("h2", {}, "Next firings"), h("span", { class: "more" }, `in ${one.zone}`)),
        h(
          "div",
          { class: "body" },
          h(
            "ol",
            { class: "stack" },
            firings
              .slice(0, 10)
              .map((at, place) =>
                h(
                  "li",
                  { class: "row" },
                  h("span", { class: "mono" }, firingsLocal[place].replace("T", " ")),
                  h("span", { class: "quiet" }, ago(at)),
                ),
              ),
          ),
        ),
      ),
      h(
        "section",
        { class: "card" },
        h("header", {}, h("h2", {}, "What it publishes")),
        h(
          "div",
          { class: "body stack" },
          h("p", { class: "mono break" }, `${schedule.method} ${schedule.destination}`),
          headerLines(pairsOf(schedule.header)),
          bodyView(schedule.body, schedule.bodyBase64, { label: "Body" }),
        ),
      ),
    ),
    h(
      "section",
      { class: "card" },
      h("header", {}, h("h2", {}, "History"), h("span", { class: "more" }, `the latest ${history.length}`)),
      history.length
        ? h(
            "div",
            { class: "scroll", tabindex: "0", role: "region", "aria-label": "History" },
            h(
              "table",
              {},
              h(
                "tbody",
                {},
                history.map((row) =>
                  h(
                    "tr",
                    {},
                    h("td", {}, chip(row.state)),
                    h("td", { class: "mono nowrap" }, moment(row.createdAt)),
                    h("td", { class: "break" }, h("a", { href: `#/messages/${row.messageId}` }, row.url)),
                  ),
                ),
              ),
            ),
          )
        : h("div", { class: "empty" }, "It has not fired yet."),
    ),
  ].map((part) => {
    if (part.matches(".cards")) part.style.margin = "14px 0";
    return part;
  });
}
