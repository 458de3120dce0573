// The dead letter queue: why each message failed; retry and delete, one and many.

import { get, post, remove, query as toQuery } from "../api.js";
import { button, h, patch, throttle } from "../dom.js";
import { ago } from "../format.js";
import { attempt } from "../toast.js";

export async function show({ root, signal, on }) {
  const chosen = new Set();
  let entries = [];
  let cursor;
  let status = "";
  const body = h("tbody");
  const nothing = h("div", { class: "empty" }, "Nothing has failed for good.");
  const bulk = h("div", { class: "row" });
  const all = h("input", {
    type: "checkbox",
    "aria-label": "Choose all that are shown",
    onchange: () => {
      for (const one of entries) all.checked ? chosen.add(one.dlqId) : chosen.delete(one.dlqId);
      draw();
    },
  });
  const more = button("More", () => load(true), { kind: "small" });
  const table = h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "Dead letter queue" },
    h(
      "table",
      { class: "fold dlq" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, all),
          h("th", { scope: "col" }, "destination"),
          h("th", { scope: "col" }, "why"),
          h("th", { scope: "col" }, "failed"),
          h("th", { scope: "col" }, h("span", { class: "sr" }, "Actions")),
        ),
      ),
      body,
    ),
  );
  const failed = h("div", { class: "failed-runs" });
  const statusFilter = h("input", {
    type: "search",
    "aria-label": "Response status",
    placeholder: "Status, such as 500",
    class: "mid",
    oninput: (event) => {
      status = event.target.value.trim();
      load();
    },
  });
  root.append(
    h(
      "div",
      { class: "head" },
      h("h1", {}, "Dead letter queue"),
      h("span", { class: "grow" }),
      h("div", { class: "filters" }, statusFilter),
      bulk,
    ),
    h("section", { class: "card" }, table, nothing, h("div", { class: "body", hidden: true }, more)),
    failed,
  );

  async function load(isMore = false) {
    const answer = await get(
      `/dlq${toQuery({ count: 100, trimBody: 2000, cursor: isMore ? cursor : "", responseStatus: /^\d+$/.test(status) ? status : "" })}`,
      { signal },
    );
    entries = isMore ? [...entries, ...answer.messages] : answer.messages;
    ({ cursor } = answer);
    const runs = await get(`/dlq${toQuery({ source: "workflow", count: 100 })}`, { signal });
    failed.replaceChildren(...failedRuns(runs.messages, load));
    const known = new Set(entries.map((one) => one.dlqId));
    for (const id of chosen) if (!known.has(id)) chosen.delete(id);
    draw();
  }

  function draw() {
    patch(
      body,
      entries.map((entry) => ({ entry, isChosen: chosen.has(entry.dlqId) })),
      ({ entry }) => entry.dlqId,
      row,
    );
    table.hidden = !entries.length;
    nothing.hidden = entries.length > 0;
    more.parentElement.hidden = !cursor;
    all.checked = entries.length > 0 && chosen.size === entries.length;
    all.indeterminate = chosen.size > 0 && chosen.size < entries.length;
    const what = chosen.size ? `${chosen.size} chosen` : "all";
    bulk.replaceChildren(
      button(`Retry ${what}`, () => many("retry"), { disabled: !entries.length, act: "retry-many" }),
      button(`Delete ${what}`, () => many("delete"), {
        kind: "danger",
        disabled: !entries.length,
        act: "delete-many",
      }),
    );
  }

  async function many(verb) {
    if (!chosen.size && !confirm(`Really ${verb} every entry of the dead letter queue?`)) return;
    const body = JSON.stringify(chosen.size ? { dlqIds: [...chosen] } : {});
    const headers = { "Content-Type": "application/json" };
    const isRetry = verb === "retry";
    // Without ids a call takes at most 100; the cursor says that more follow.
    let done = 0;
    let next;
    do {
      const answer = await attempt(
        () => (isRetry ? post("/v2/dlq/retry", { body, headers }) : remove("/v2/dlq", { body, headers })),
        (made) => {
          done += isRetry ? made.responses.length : made.deleted;
          return `${done} ${isRetry ? "published again" : "deleted"}`;
        },
      );
      next = answer?.cursor;
    } while (next && !chosen.size);
    await load();
  }

  function row({ entry, isChosen }) {
    const id = entry.dlqId;
    const path = `/v2/dlq/${encodeURIComponent(id)}`;
    const box = h("input", {
      type: "checkbox",
      checked: isChosen,
      "aria-label": `Choose ${entry.url}, ${id}`,
      data: { act: "choose" },
      onchange: () => {
        box.checked ? chosen.add(id) : chosen.delete(id);
        draw();
      },
    });
    return h(
      "tr",
      {},
      h("td", {}, box),
      h(
        "td",
        { class: "break" },
        h("a", { href: `#/messages/${entry.messageId}` }, entry.url),
        h(
          "div",
          { class: "quiet" },
          [entry.method, entry.queueName && `queue ${entry.queueName}`, ...(entry.labels ?? [])]
            .filter(Boolean)
            .join(" · "),
        ),
      ),
      h(
        "td",
        { class: "break", data: { label: "why" } },
        h("span", { class: "chip bad" }, entry.responseStatus || "no answer"),
        " ",
        why(entry),
      ),
      h("td", { class: "nowrap", data: { label: "failed" } }, ago(Number(id.split("-")[0]))),
      h(
        "td",
        { class: "act" },
        button(
          "Retry",
          async () => {
            await attempt(() => post(`/v2/dlq/retry/${encodeURIComponent(id)}`), "Published again");
            await load();
          },
          { kind: "small", act: "retry" },
        ),
        button(
          "Delete",
          async () => {
            await attempt(() => remove(path), "Deleted");
            await load();
          },
          { kind: "small danger", act: "delete" },
        ),
      ),
    );
  }

  const soon = throttle(() => load().catch(() => {}), 500);
  on("changed", (kinds) => kinds.includes("dlq") && soon());
  on("cleared", soon);
  await load();
}

/** The workflow runs that failed, with what takes them up again. */
function failedRuns(runs, reload) {
  if (!runs.length) return [];
  const again = (run, verb, words) =>
    button(
      words,
      async () => {
        await attempt(
          () => post(`/v2/workflows/dlq/${verb}/${encodeURIComponent(run.dlqId)}`),
          verb === "resume" ? "It goes on as a new run" : "Begun anew as a new run",
        );
        await reload();
      },
      { kind: "small" },
    );
  const row = (run) =>
    h(
      "tr",
      {},
      h(
        "td",
        { class: "break" },
        h(
          "a",
          { href: `#/runs/${encodeURIComponent(run.workflowRunId)}?createdAt=${run.workflowCreatedAt}` },
          run.workflowRunId,
        ),
        h("div", { class: "quiet" }, run.workflowUrl),
      ),
      h(
        "td",
        { class: "break", data: { label: "why" } },
        h("span", { class: "chip bad" }, run.responseStatus || "no answer"),
        " ",
        why(run),
      ),
      h("td", { class: "act" }, again(run, "resume", "Resume"), again(run, "restart", "Restart")),
    );
  return [
    h(
      "section",
      { class: "card", "aria-label": "Failed workflow runs" },
      h("header", {}, h("h2", {}, "Failed workflow runs"), h("span", { class: "more" }, String(runs.length))),
      h(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Failed runs" },
        h(
          "table",
          { class: "fold" },
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              h("th", { scope: "col" }, "run"),
              h("th", { scope: "col" }, "why"),
              h("th", { scope: "col" }, h("span", { class: "sr" }, "Actions")),
            ),
          ),
          h("tbody", {}, runs.map(row)),
        ),
      ),
    ),
  ];
}

/** The answer's own words, and what to do. */
const why = ({ reason }) => [
  reason.words ?? "the answer says nothing",
  reason.step ? h("span", { class: "tag" }, reason.step) : null,
  reason.advice ? h("div", { class: "quiet" }, reason.advice) : null,
];
