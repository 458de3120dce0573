// How it goes: throughput, success, latency, lateness; who is slow, who fails.

import { get } from "../api.js";
import { h, throttle } from "../dom.js";
import { count, percent, span } from "../format.js";
import { bars, lines } from "../parts/charts.js";
import { nowAt } from "../time.js";

const LATENCY = "From the start of an attempt to its end.";
const LATENESS =
  "From an attempt's due time to its start. Waiting for a queue, a rate or a free slot counts.";

const WINDOWS = [
  [300, "5 minutes"],
  [3600, "1 hour"],
  [86_400, "1 day"],
  [604_800, "7 days"],
];
const STATES = ["CREATED", "ACTIVE", "RETRY", "DELIVERED", "FAILED", "CANCELED"];

export async function show({ root, signal, on }) {
  // Until somebody chooses, the range fits what there is: a session of a few minutes is no two bars of an hour.
  let isChosen = sessionStorage.getItem("qstash.window") !== null;
  let seconds = Number(sessionStorage.getItem("qstash.window")) || 3600;
  const content = h("div");
  const choose = h(
    "select",
    {
      "aria-label": "Over which time",
      onchange: (event) => {
        seconds = Number(event.target.value);
        isChosen = true;
        sessionStorage.setItem("qstash.window", String(seconds));
        refresh();
      },
    },
    WINDOWS.map(([value, words]) => h("option", { value, selected: value === seconds }, `last ${words}`)),
  );
  root.append(h("div", { class: "head" }, h("h1", { class: "grow" }, "Overview"), choose), content);

  async function refresh() {
    let figures = await get(`/overview?windowSeconds=${seconds}`, { signal });
    if (!isChosen && seconds === 3600 && isRecent(figures)) {
      seconds = 300;
      choose.value = "300";
      figures = await get("/overview?windowSeconds=300", { signal });
    } else if (
      !isChosen &&
      seconds === 300 &&
      !isRecent(await get("/overview?windowSeconds=3600", { signal }))
    ) {
      seconds = 3600;
      choose.value = "3600";
      figures = await get("/overview?windowSeconds=3600", { signal });
    }
    content.replaceChildren(...(Object.keys(figures.states).length ? drawn(figures) : [welcome()]));
  }
  const soon = throttle(() => refresh().catch(() => {}), 1500);
  on("changed", (kinds) => (kinds.includes("messages") || kinds.includes("dlq")) && soon());
  on("cleared", soon);
  const timer = setInterval(soon, 15_000);
  signal.addEventListener("abort", () => clearInterval(timer));
  await refresh();
}

/** Whether all that happened in an hour happened in its last five minutes. */
function isRecent({ buckets }) {
  const first = buckets.findIndex((one) => one.accepted + one.delivered + one.errors + one.failed > 0);
  return first >= buckets.length - 5;
}

function drawn(figures) {
  const { buckets, from, to } = figures;
  const pick = (name) => buckets.map((bucket) => bucket[name]);
  const perBar = `each bar is ${span(figures.bucketMs)}`;
  return [
    h(
      "div",
      { class: "tiles" },
      tile(count(figures.accepted), "accepted"),
      tile(count(figures.delivered), "delivered"),
      tile(percent(figures.successRate), "success rate"),
      tile(count(figures.inFlight), "attempts under way"),
      tile(figures.latencyMs ? span(figures.latencyMs.p95) : "–", "latency, p95"),
      tile(figures.latenessMs ? span(figures.latenessMs.p95) : "–", "lateness, p95"),
      tile(count(figures.deadLetters), "in the DLQ", "#/dlq"),
    ),
    figures.isCut
      ? h(
          "p",
          { class: "notice" },
          "More happened than is counted here: the figures come from the newest 10,000 log lines.",
        )
      : null,
    card("Messages by state", "of the newest 100,000", states(figures.states)),
    h(
      "div",
      { class: "cards wider" },
      card(
        "Throughput",
        perBar,
        bars({
          label: "Attempts that ended, by outcome",
          from,
          to,
          series: [
            { name: "delivered", className: "c-delivered", values: pick("delivered") },
            {
              name: "failed, to be retried",
              className: "c-errors",
              values: buckets.map((bucket) => bucket.errors - bucket.failed),
            },
            { name: "failed for good", className: "c-failed", values: pick("failed") },
          ],
        }),
      ),
      card(
        "Accepted",
        perBar,
        bars({
          label: "Messages accepted",
          from,
          to,
          series: [{ name: "accepted", className: "c-accepted", values: pick("accepted") }],
        }),
      ),
      card(
        "Latency",
        percentileWords(figures.latencyMs),
        lines({
          label: "Latency of attempts",
          from,
          to,
          format: span,
          series: [
            { name: "median", className: "c-accent", values: pick("latencyP50") },
            { name: "95th percentile", className: "c-active", values: pick("latencyP95") },
          ],
        }),
        LATENCY,
      ),
      card(
        "Lateness",
        percentileWords(figures.latenessMs),
        lines({
          label: "How long after their due time attempts start",
          from,
          to,
          format: span,
          series: [{ name: "95th percentile", className: "c-errors", values: pick("latenessP95") }],
        }),
        LATENESS,
      ),
    ),
    h(
      "div",
      { class: "cards wider" },
      card(
        "Slowest destinations",
        "by 95th percentile",
        destinations("Slowest destinations", figures.slowest, "Nothing was attempted in this time."),
      ),
      card(
        "Most failing destinations",
        "by failed attempts",
        destinations("Most failing destinations", figures.failing, "No attempt failed in this time."),
      ),
    ),
  ].filter(Boolean);
}

const tile = (figure, words, href) =>
  h(href ? "a" : "div", { class: "tile", href }, h("b", {}, figure), h("span", {}, words));

const card = (title, more, body, hint = "") =>
  h(
    "section",
    { class: "card" },
    h("header", {}, h("h2", {}, title), h("span", { class: "more" }, more)),
    h("div", { class: "body" }, body, hint ? h("p", { class: "hint" }, hint) : null),
  );

const percentileWords = (values) =>
  values ? `p50 ${span(values.p50)} · p95 ${span(values.p95)} · p99 ${span(values.p99)}` : "";

function states(counts) {
  const present = STATES.filter((state) => counts[state]);
  const bar = h("div", { class: "states", "aria-hidden": "true" });
  for (const state of present) {
    const part = h("i", { class: `s-${state}` });
    part.style.flexGrow = counts[state];
    bar.append(part);
  }
  return h(
    "div",
    {},
    bar,
    h(
      "ul",
      { class: "legend-row" },
      present.map((state) =>
        h(
          "li",
          {},
          h("a", { href: `#/messages?state=${state}` }, h("span", { class: `chip ${state}` }, state)),
          ` ${count(counts[state])}`,
        ),
      ),
    ),
  );
}

function destinations(label, rows, nothing) {
  if (!rows.length) return h("p", { class: "quiet" }, nothing);
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "destination"),
          h("th", { class: "num", scope: "col" }, "attempts"),
          h("th", { class: "num", scope: "col" }, "failed"),
          h("th", { class: "num", scope: "col" }, "p95"),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((row) =>
          h(
            "tr",
            {},
            h(
              "td",
              { class: "break" },
              h("a", { href: `#/messages?url=${encodeURIComponent(row.destination)}` }, row.destination),
              row.lastError ? h("div", { class: "quiet" }, row.lastError) : null,
            ),
            h("td", { class: "num" }, count(row.attempts)),
            h("td", { class: "num" }, count(row.errors)),
            h("td", { class: "num nowrap" }, span(row.latencyMs.p95)),
          ),
        ),
      ),
    ),
  );
}

function welcome() {
  return h(
    "div",
    { class: "card" },
    h(
      "div",
      { class: "empty stack" },
      h("h2", {}, "Nothing has been published yet"),
      h(
        "p",
        {},
        "Point an app at this server with the four variables that it printed on start, or ",
        h("a", { href: "#/publish" }, "publish a message from here"),
        ".",
      ),
      h("p", { class: "quiet" }, `It is ${new Date(nowAt()).toLocaleString()} for this tenant.`),
    ),
  );
}
