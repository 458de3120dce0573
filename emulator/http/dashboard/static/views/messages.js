// The list of messages: live, filtered, as long as it has to be.

import { get, query as toQuery } from "../api.js";
import { button, h, throttle } from "../dom.js";
import { ago, chip, count } from "../format.js";
import { virtualList } from "../parts/virtual_list.js";

const STATES = ["CREATED", "ACTIVE", "RETRY", "DELIVERED", "FAILED", "CANCELED"];
const GROUPS = [
  ["", "All"],
  ["CREATED", "Scheduled"],
  ["ACTIVE,RETRY", "Trying"],
  ["DELIVERED,FAILED,CANCELED", "Done"],
];
const TIMES = [
  ["", "any time"],
  ["300", "last 5 minutes"],
  ["3600", "last hour"],
  ["86400", "last day"],
];
const PAGE = 200;

export async function show({ root, signal, query, on }) {
  const filter = Object.fromEntries(
    ["state", "url", "queueName", "label", "text", "scheduleId", "topicName", "since"].map((name) => [
      name,
      query.get(name) ?? "",
    ]),
  );
  let rows = new Map();
  let total = 0;
  let next;
  let isLoading = false;
  // Answers to a question that has changed meanwhile are dropped.
  let question = 0;
  let now = Date.now();

  const summary = h("span", { class: "sub", role: "status" });
  const nothing = h("div", { class: "empty", hidden: true });
  const list = virtualList({
    label: "Messages",
    head: head(),
    draw: drawRow,
    keyOf: (row) => row.messageId,
    more: loadMore,
  });
  const which = groups(filter, restart);
  root.append(
    h(
      "div",
      { class: "head" },
      h("h1", {}, "Messages"),
      summary,
      h("span", { class: "grow" }),
      h("a", { class: "button primary", href: "#/publish" }, "Publish"),
    ),
    which.element,
    filters(filter, restart),
    list.element,
    nothing,
  );

  const parameters = (more = {}) => {
    const { since, ...rest } = filter;
    return toQuery({ ...rest, fromDate: since ? now - Number(since) * 1000 : "", count: PAGE, ...more });
  };

  async function loadMore() {
    if (isLoading || next === undefined) return;
    isLoading = true;
    const asked = question;
    try {
      const answer = await get(`/messages${parameters({ before: next })}`, { signal });
      if (asked === question) take(answer, { isNext: true });
    } catch (error) {
      if (error.name !== "AbortError") summary.textContent = error.message;
    } finally {
      isLoading = false;
    }
  }

  function take(answer, { isNext = false, isFresh = false }) {
    if (isFresh) rows = new Map();
    for (const row of answer.messages) rows.set(row.messageId, row);
    if (isNext || isFresh) next = answer.next;
    ({ total, now } = answer);
    redraw(answer.isTotalExact);
  }

  function redraw(isExact = true) {
    const sorted = [...rows.values()].sort((a, b) => b.seq - a.seq);
    list.show(sorted, total);
    summary.textContent = total ? `${isExact ? "" : "more than "}${count(total)}` : "";
    list.element.hidden = !sorted.length;
    nothing.hidden = sorted.length > 0;
    nothing.replaceChildren(
      Object.values(filter).some(Boolean)
        ? "No message matches."
        : "No messages yet. They appear here as they are published.",
    );
  }

  async function restart() {
    history.replaceState(null, "", `#/messages${toQuery(filter)}`);
    which.mark();
    root.querySelector("select[aria-label=State]").value = STATES.includes(filter.state) ? filter.state : "";
    const asked = ++question;
    const answer = await get(`/messages${parameters()}`, { signal });
    if (asked === question) take(answer, { isFresh: true });
  }

  // The newest page is read anew; what lies further down learns its state from the events.
  const refresh = throttle(async () => {
    const asked = question;
    try {
      const answer = await get(`/messages${parameters()}`, { signal });
      if (asked !== question) return;
      const isGap =
        answer.messages.length === PAGE && !answer.messages.some((row) => rows.has(row.messageId));
      take(answer, { isFresh: isGap || !rows.size || (filter.state !== "" && rows.size <= PAGE) });
    } catch {
      // Reconnecting brings the next event.
    }
  }, 400);
  on("step", (step) => {
    const row = rows.get(step.messageId);
    if (!row) return;
    if (STATES.includes(step.state)) row.state = step.state;
    row.retried = step.retried;
  });
  on("changed", (kinds) => kinds.includes("messages") && refresh());
  on("cleared", () => {
    rows = new Map();
    refresh();
  });
  await restart();
}

function head() {
  return h(
    "div",
    { class: "cols", role: "row" },
    ["State", "Method", "Destination", "Why", "", "Attempts", "Created"].map((words) =>
      h("span", { role: "columnheader" }, words || h("span", { class: "sr" }, "Queue and labels")),
    ),
  );
}

function drawRow(row, isHere) {
  const tags = [
    row.queueName && `queue ${row.queueName}`,
    row.topicName && `group ${row.topicName}`,
    row.isCallback && "callback",
    row.scheduleId && "scheduled",
    ...(row.labels ?? []),
  ].filter(Boolean);
  const made =
    row.retried + (row.state === "CREATED" || row.state === "CANCELED" ? 0 : row.state === "RETRY" ? 0 : 1);
  return h(
    "div",
    { class: `item${isHere ? " here" : ""}`, role: "row" },
    h("span", { role: "cell" }, chip(row.state)),
    h("span", { role: "cell", class: "method" }, row.method),
    h(
      "span",
      { role: "cell", class: "url" },
      h("a", { href: `#/messages/${row.messageId}`, title: row.url }, h("bdi", {}, row.url)),
    ),
    h("span", { role: "cell", class: "why" }, whyOf(row)),
    h(
      "span",
      { role: "cell", class: "tags" },
      tags.map((tag) => h("span", { class: "tag", title: tag }, tag)),
    ),
    h("span", { role: "cell", class: "tries" }, `${made} of ${row.maxRetries + 1}`),
    h("span", { role: "cell", class: "when" }, ago(row.createdAt)),
  );
}

/** Why it stands as it does, short: the last status and the reason, or what it waits for and until when. */
function whyOf({ outcome, lastStatus, state }) {
  if (!outcome || state === "DELIVERED")
    return lastStatus ? h("span", { class: "mono quiet" }, lastStatus) : null;
  const words = outcome.why ?? outcome.what;
  return h(
    "span",
    { title: outcome.sentence },
    lastStatus ? h("b", { class: "mono" }, `${lastStatus} `) : null,
    outcome.step ? h("span", { class: "tag" }, outcome.step) : null,
    // First, as a long reason is cut.
    outcome.nextAt ? [ago(outcome.nextAt), " · "] : null,
    words.replace(/^the destination answered with status \d+( \([^)]*\))?( in step '[^']*')?:? ?/, ""),
  );
}

function groups(filter, changed) {
  const made = GROUPS.map(([value, words]) =>
    button(
      words,
      () => {
        filter.state = value;
        changed();
      },
      { kind: "small", pressed: filter.state === value },
    ),
  );
  const mark = () =>
    made.forEach((one, place) => {
      one.setAttribute("aria-pressed", String(filter.state === GROUPS[place][0]));
    });
  return {
    element: h("div", { class: "row groups", role: "group", "aria-label": "Which messages" }, made),
    mark,
  };
}

function filters(filter, changed) {
  const soon = throttle(changed, 250);
  const bind = (name, input) => {
    input.value = filter[name];
    input.addEventListener("input", () => {
      filter[name] = input.value.trim();
      soon();
    });
    return input;
  };
  const text = (name, label, placeholder, props = {}) =>
    bind(name, h("input", { type: "search", "aria-label": label, placeholder, ...props }));
  const select = (name, label, options) =>
    bind(
      name,
      h(
        "select",
        { "aria-label": label },
        options.map(([value, words]) => h("option", { value }, words)),
      ),
    );
  const inputs = [
    text("text", "Search in ids, URLs, labels and bodies", "Search  /", {
      class: "wide",
      data: { search: "true" },
    }),
    select("state", "State", [["", "any state"], ...STATES.map((state) => [state, state])]),
    text("url", "URL contains", "URL contains"),
    text("queueName", "Queue", "Queue"),
    text("label", "Label", "Label"),
    select("since", "Created", TIMES),
  ];
  const clear = button(
    "Clear",
    () => {
      for (const name of Object.keys(filter)) filter[name] = "";
      for (const input of inputs) input.value = "";
      changed();
    },
    { kind: "plain" },
  );
  return h("div", { class: "filters", role: "search" }, inputs, clear);
}
