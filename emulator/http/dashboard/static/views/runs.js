// Workflow runs: live, newest first, by state.

import { get, query as toQuery } from "../api.js";
import { button, h, patch, throttle } from "../dom.js";
import { ago, span } from "../format.js";

export const STATES = {
  RUN_STARTED: ["under way", "ACTIVE"],
  RUN_SUCCESS: ["succeeded", "good"],
  RUN_FAILED: ["failed", "bad"],
  RUN_CANCELED: ["cancelled", "CANCELED"],
};

/** A run's state in its colour. */
export const runChip = (state) => h("span", { class: `chip ${STATES[state][1]}` }, STATES[state][0]);

/** Where a run is shown; its creation time tells runs of one id apart. */
export const runLink = (run) => `#/runs/${encodeURIComponent(run.runId)}?createdAt=${run.createdAt}`;

export async function show({ root, signal, query, on }) {
  let state = query.get("state") ?? "";
  let runs = [];
  let cursor;
  const body = h("tbody");
  const nothing = h("div", { class: "empty" });
  const more = button("More", () => load(true), { kind: "small" });
  const choice = h(
    "select",
    {
      "aria-label": "State",
      onchange: () => {
        state = choice.value;
        load();
      },
    },
    h("option", { value: "" }, "any state"),
    Object.entries(STATES).map(([value, [words]]) =>
      h("option", { value, selected: value === state }, words),
    ),
  );
  const table = h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Workflow runs" },
    h(
      "table",
      { class: "fold" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ["state", "run", "why", "workflow", "began", "took"].map((name) => h("th", { scope: "col" }, name)),
        ),
      ),
      body,
    ),
  );
  root.append(
    h(
      "div",
      { class: "head" },
      h("h1", {}, "Workflow runs"),
      h("span", { class: "grow" }),
      h("div", { class: "filters" }, choice),
    ),
    h("section", { class: "card" }, table, nothing, h("div", { class: "body", hidden: true }, more)),
  );

  async function load(isMore = false) {
    const answer = await get(`/runs${toQuery({ state, cursor: isMore ? cursor : "" })}`, { signal });
    runs = isMore ? [...runs, ...answer.runs] : answer.runs;
    ({ cursor } = answer);
    patch(body, runs, (run) => `${run.runId}@${run.createdAt}`, row);
    table.hidden = !runs.length;
    nothing.hidden = runs.length > 0;
    nothing.textContent = state
      ? "No run matches."
      : "No workflow run yet. They appear here as they are triggered.";
    more.parentElement.hidden = !cursor;
  }

  const soon = throttle(() => load().catch(() => {}), 600);
  on("step", soon);
  on("cleared", soon);
  await load();
}

function row(run) {
  const took = run.endedAt === null ? "" : span(run.endedAt - run.createdAt);
  return h(
    "tr",
    {},
    h("td", {}, runChip(run.state)),
    h(
      "td",
      { class: "mono break" },
      h("a", { href: runLink(run) }, run.runId),
      " ",
      run.labels.map((label) => h("span", { class: "tag" }, label)),
    ),
    h("td", { class: "break", title: run.outcome.sentence, data: folded(run.outcome.why) }, why(run.outcome)),
    h("td", { class: "break quiet" }, run.url),
    h("td", { class: "nowrap", data: { label: "began" } }, ago(run.createdAt)),
    h("td", { class: "nowrap", data: folded(took, "took") }, took),
  );
}

/** An empty cell is left out where a row folds on a phone; another is called by its label, if it has one. */
const folded = (content, label) => (content ? label && { label } : { empty: "" });

/** Why a run failed, or what it waits for and until when; nothing of one that ended well. */
function why({ why: words, step, nextAt }) {
  if (!words) return "";
  return [words, step ? h("span", { class: "tag" }, step) : null, nextAt ? [" · ", ago(nextAt)] : null];
}
