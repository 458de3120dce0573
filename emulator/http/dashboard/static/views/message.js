// One message: its story as a picture, what was sent and what came back, and what may be done about it.

import { get, post, remove } from "../api.js";
import { button, focused, h, throttle } from "../dom.js";
import { ago, chip, clockTime, moment, span } from "../format.js";
import { bodyView, headerLines, pairsOf } from "../parts/body.js";
import { picture } from "../parts/picture.js";
import { curl, publishOf } from "../parts/snippets.js";
import { server } from "../session.js";
import { copy, attempt as trying } from "../toast.js";

export async function show({ root, signal, params, on }) {
  const id = params[0];
  let picked = null;
  let story;

  async function refresh() {
    story = await get(`/messages/${encodeURIComponent(id)}`, { signal });
    draw();
  }
  function draw() {
    const act = focused()?.dataset.act;
    const held = document.activeElement?.getAttribute?.("aria-label");
    const last = story.attempts.at(-1)?.number ?? null;
    const number = picked ?? last;
    root.replaceChildren(
      ...page(
        story,
        number,
        (chosen) => {
          picked = chosen;
          draw();
        },
        refresh,
      ).filter(Boolean),
    );
    if (act) root.querySelector(`[data-act="${act}"]`)?.focus();
    else if (held)
      requestAnimationFrame(() => root.querySelector(`[aria-label="${CSS.escape(held)}"]`)?.focus());
  }
  const soon = throttle(() => refresh().catch(() => {}), 300);
  on(
    "step",
    (step) =>
      (step.messageId === id || story?.callbacks.some((one) => one.messageId === step.messageId)) && soon(),
  );
  on(
    "changed",
    (kinds) =>
      (kinds.includes("dlq") || kinds.includes("queues") || kinds.includes("keys")) &&
      story &&
      !story.summary.finishedAt &&
      soon(),
  );
  await refresh();
}

function page(story, number, pick, refresh) {
  const { message, summary } = story;
  const chosen = story.attempts.find((one) => one.number === number);
  return [
    h(
      "div",
      { class: "head" },
      chip(summary.state),
      h("h1", { class: "title-url grow" }, h("span", { class: "quiet" }, `${message.method} `), message.url),
      actions(story, refresh),
    ),
    story.outcome.why && ["FAILED", "RETRY"].includes(summary.state)
      ? h(
          "p",
          { class: "problem", role: "status" },
          h("b", {}, summary.state === "RETRY" ? "The last attempt failed: " : `${story.outcome.what}: `),
          [story.outcome.why, story.outcome.advice].filter(Boolean).join("; "),
        )
      : null,
    story.waitsFor
      ? h(
          "p",
          { class: "notice" },
          h("b", {}, "Waits: "),
          story.waitsFor,
          story.waitsUntil && summary.state !== "ACTIVE" && story.waitsUntil !== summary.dueAt
            ? [" until ", moment(story.waitsUntil)]
            : null,
          summary.dueAt > story.now && summary.state !== "ACTIVE"
            ? [". Next attempt ", ago(summary.dueAt), ` (${clockTime(summary.dueAt)})`]
            : null,
        )
      : null,
    h(
      "section",
      { class: "card", "aria-label": "Attempts" },
      h(
        "header",
        {},
        h("h2", {}, "Attempts"),
        h(
          "span",
          { class: "more" },
          story.attempts.length
            ? `${story.attempts.length} of at most ${summary.maxRetries + 1} · long waits are drawn shorter`
            : "none yet",
        ),
      ),
      picture(story, { picked: number, onPick: pick }),
    ),
    chosen ? attemptCard(chosen) : null,
    h(
      "div",
      { class: "cards" },
      h(
        "section",
        { class: "card" },
        h("header", {}, h("h2", {}, "Message")),
        h("div", { class: "body" }, facts(story)),
      ),
      h(
        "section",
        { class: "card" },
        h("header", {}, h("h2", {}, "Body")),
        h(
          "div",
          { class: "body" },
          bodyView(message.body, message.bodyBase64, { label: "Body of the message" }),
        ),
      ),
    ),
    kin(story),
    h(
      "section",
      { class: "card" },
      h("header", {}, h("h2", {}, "History"), h("span", { class: "more" }, `${story.history.length} lines`)),
      h("div", { class: "body" }, history(story.history)),
    ),
    repeat(story),
  ].map((part) => part && spaced(part));
}

function spaced(part) {
  if (part.matches(".cards")) part.style.marginTop = part.style.marginBottom = "14px";
  if (part.matches(".notice, .problem")) part.style.marginBottom = "14px";
  return part;
}

function actions(story, refresh) {
  const { summary, dlqId } = story;
  const id = encodeURIComponent(summary.messageId);
  const isWaiting = ["CREATED", "RETRY"].includes(summary.state);
  const again = (action, words) => async () => {
    await trying(action, words);
    await refresh().catch(() => {});
  };
  return h(
    "div",
    { class: "row" },
    isWaiting
      ? button(
          summary.retried ? "Retry now" : "Deliver now",
          again(() => post(`/messages/${id}/retry-now`), "Brought forward"),
          { kind: "primary", act: "retry", disabled: summary.dueAt <= story.now },
        )
      : null,
    isWaiting || summary.state === "ACTIVE"
      ? button(
          "Cancel",
          again(() => remove(`/v2/messages/${id}`), "Cancelled"),
          { kind: "danger", act: "cancel" },
        )
      : null,
    links(story),
    dlqId
      ? button(
          "Retry from the DLQ",
          async () => {
            const made = await trying(() => post(`/v2/dlq/retry/${dlqId}`), "Published again");
            if (made) location.hash = `#/messages/${made.messageId}`;
          },
          { kind: "primary", act: "dlq" },
        )
      : null,
    button(
      "Publish again…",
      () => {
        sessionStorage.setItem("qstash.draft", JSON.stringify(publishOf(story.message, story.timeoutMs)));
        location.hash = "#/publish";
      },
      { act: "again" },
    ),
  );
}

/** Where the workflow run or the job is that the message belongs to. */
function links({ message }) {
  const runId = pairsOf(message.header).find(
    ([name]) => name.toLowerCase() === "upstash-workflow-runid",
  )?.[1];
  const jobId = server.jobsUrl ? jobOf(message.body) : null;
  return [
    runId ? h("a", { class: "button", href: `#/runs/${encodeURIComponent(runId)}` }, "Its run") : null,
    jobId
      ? h(
          "a",
          { class: "button", href: `${server.jobsUrl}/${encodeURIComponent(jobId)}`, rel: "noreferrer" },
          "Its job ↗",
        )
      : null,
  ];
}

function jobOf(body) {
  try {
    const id = JSON.parse(body).jobId;
    return typeof id === "string" ? id : null;
  } catch {
    return null;
  }
}

function attemptCard(one) {
  const { response, signature, request } = one;
  return h(
    "section",
    { class: "card", "aria-label": `Attempt ${one.number}` },
    h(
      "header",
      {},
      h("h2", {}, `Attempt ${one.number}`),
      chip(one.outcome ?? "ACTIVE"),
      response?.status ? h("span", { class: "mono" }, String(response.status)) : null,
      h(
        "span",
        { class: "more" },
        "started ",
        moment(one.startedAt, { millis: true }),
        one.endedAt ? `, took ${span(one.endedAt - one.startedAt)}` : "",
      ),
    ),
    h(
      "div",
      { class: "body stack" },
      one.error ? h("p", { class: "problem" }, one.reason ?? one.error) : null,
      one.next
        ? h(
            "p",
            { class: "notice" },
            "Next attempt after ",
            h("b", {}, span(one.next.waitMs)),
            ` (${clockTime(one.next.at)}): `,
            one.next.rule,
            ".",
          )
        : null,
      h(
        "div",
        { class: "halves" },
        h(
          "div",
          {},
          h("h3", {}, request.isKept ? "Request, as sent" : "Request"),
          h("p", { class: "mono break" }, `${request.method} ${request.url}`),
          request.isKept
            ? headerLines(request.headers)
            : h("p", { class: "quiet" }, "Its header lines are kept once the attempt has ended."),
        ),
        h(
          "div",
          {},
          h("h3", {}, "Response"),
          response
            ? [
                headerLines(response.headers),
                bodyView(response.body, response.bodyBase64, { label: "Body of the response" }),
              ]
            : h("p", { class: "quiet" }, one.outcome ? "There was none." : "Not yet."),
        ),
      ),
      signatureView(signature),
    ),
  );
}

/** Signatures carry real time, whatever the tenant's clock says. */
const realTime = (at) => new Date(at).toISOString().replace("T", " ").slice(0, 19).concat(" UTC");

function signatureView(signature) {
  if (!signature)
    return h(
      "div",
      {},
      h("h3", {}, "Signature"),
      h(
        "p",
        { class: "quiet" },
        "The signature is kept with the request once the attempt has ended; this one was not.",
      ),
    );
  const line = (isRight, words) => h("li", { class: isRight ? "" : "no" }, words);
  return h(
    "div",
    { class: "halves" },
    h(
      "div",
      {},
      h(
        "h3",
        {},
        "Signature ",
        signature.verifies
          ? h("span", { class: "chip good" }, "verifies")
          : h("span", { class: "chip bad" }, "does not verify"),
      ),
      h(
        "ul",
        { class: "checks" },
        line(
          signature.key,
          signature.key ? `made with the ${signature.key} key` : "made with a key that has been rotated away",
        ),
        line(signature.isUrlRight, "sub is the message's URL"),
        line(signature.isBodyRight, "body is the hash of the body that was sent"),
      ),
      h(
        "p",
        { class: "quiet" },
        `Signed at ${realTime(signature.claims.iat * 1000)}, accepted until ${realTime(signature.expiresAt)}.`,
      ),
    ),
    h(
      "pre",
      { class: "code", tabindex: "0", role: "region", "aria-label": "Decoded signature" },
      JSON.stringify({ header: signature.header, claims: signature.claims }, null, 2),
    ),
  );
}

function facts({ message, summary, timeoutMs, redactFields, dlqId }) {
  const rows = [
    [
      "Id",
      h(
        "span",
        { class: "mono" },
        message.messageId,
        " ",
        button("Copy", () => copy(message.messageId), { kind: "small plain" }),
      ),
    ],
    ["Created", moment(message.createdAt, { millis: true })],
    message.notBefore > message.createdAt && ["Not before", moment(message.notBefore)],
    summary.finishedAt && ["Finished", moment(summary.finishedAt, { millis: true })],
    ["Retries", `${summary.retried} of ${message.maxRetries}`],
    message.retryDelayExpression && ["Retry delay", h("code", {}, message.retryDelayExpression)],
    timeoutMs && ["Timeout", span(timeoutMs)],
    message.queueName && ["Queue", h("a", { href: "#/queues" }, message.queueName)],
    message.topicName && [
      "URL group",
      h(
        "a",
        { href: "#/groups" },
        message.topicName,
        message.endpointName ? ` (${message.endpointName})` : "",
      ),
    ],
    message.scheduleId && [
      "Schedule",
      h("a", { href: `#/schedules/${message.scheduleId}` }, message.scheduleId),
    ],
    message.flowControlKey && [
      "Flow control",
      `${message.flowControlKey} (${[message.parallelism && `parallelism ${message.parallelism}`, message.rate && `${message.rate} in ${message.period} s`].filter(Boolean).join(", ")})`,
    ],
    message.labels && [
      "Labels",
      message.labels.map((label) => [
        h("a", { class: "tag", href: `#/messages?label=${encodeURIComponent(label)}` }, label),
        " ",
      ]),
    ],
    message.callback && ["Callback", h("span", { class: "break" }, message.callback)],
    message.failureCallback && ["Failure callback", h("span", { class: "break" }, message.failureCallback)],
    redactFields && ["Redacted", redactFields],
    dlqId && ["DLQ id", h("span", { class: "mono" }, dlqId)],
    message.callerIP && ["Published from", message.callerIP],
  ].filter(Boolean);
  return h(
    "div",
    { class: "stack" },
    h(
      "dl",
      { class: "facts" },
      rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
    ),
    h("h3", {}, "Forwarded headers"),
    headerLines(pairsOf(message.header)),
  );
}

function kin({ parent, callbacks, siblings }) {
  const groups = [
    ["Reports about", parent ? [parent] : []],
    ["Callbacks", callbacks],
    ["Same publish, other endpoints", siblings],
  ].filter(([, rows]) => rows.length);
  if (!groups.length) return null;
  return h(
    "div",
    { class: "cards" },
    groups.map(([title, rows]) =>
      h(
        "section",
        { class: "card" },
        h("header", {}, h("h2", {}, title)),
        h(
          "div",
          { class: "body" },
          h(
            "ul",
            { class: "kin" },
            rows.map((row) =>
              h(
                "li",
                {},
                chip(row.state),
                h("a", { href: `#/messages/${row.messageId}` }, row.url),
                h("span", { class: "quiet" }, ago(row.createdAt)),
              ),
            ),
          ),
        ),
      ),
    ),
  );
}

function history(entries) {
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": "History" },
    h(
      "table",
      { class: "fold" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ["time", "state", "retried", "next attempt", "error"].map((name) =>
            h("th", { scope: "col" }, name),
          ),
        ),
      ),
      h(
        "tbody",
        {},
        entries.map((entry) =>
          h(
            "tr",
            {},
            h("td", { class: "mono nowrap" }, moment(entry.time, { millis: true })),
            h("td", {}, chip(entry.state)),
            cell("retried", {}, String(entry.retried)),
            cell(
              "next attempt",
              { class: "mono nowrap" },
              entry.nextDeliveryTime && moment(entry.nextDeliveryTime),
            ),
            cell("error", { class: "break" }, entry.error),
          ),
        ),
      ),
    ),
  );
}

/** A cell that names its column on a phone; one without a value takes no place there. */
const cell = (label, props, value) =>
  h("td", { ...props, data: value ? { label } : { empty: "true" } }, value ?? "");

function repeat({ message, timeoutMs, redactFields }) {
  const isPartial = redactFields || message.bodyBase64;
  const text = curl(publishOf(message, timeoutMs), server.url);
  return h(
    "section",
    { class: "card" },
    h(
      "header",
      {},
      h("h2", {}, "The same call again"),
      h(
        "span",
        { class: "more" },
        button("Copy", () => copy(text), { kind: "small" }),
      ),
    ),
    h(
      "div",
      { class: "body stack" },
      isPartial
        ? h(
            "p",
            { class: "notice" },
            redactFields
              ? "Redacted values cannot be repeated: put the originals in their place."
              : "The body is binary and left out: add it with --data-binary @FILE.",
          )
        : null,
      h("pre", { class: "code wrap", tabindex: "0", role: "region", "aria-label": "curl" }, text),
    ),
  );
}
