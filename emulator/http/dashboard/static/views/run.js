// One workflow run: its steps on a time axis, what each returned, and what can be done with it.

import { get, post, postJson, remove, query as toQuery } from "../api.js";
import { button, field, focused, h, throttle } from "../dom.js";
import { ago, moment, span } from "../format.js";
import { bodyView } from "../parts/body.js";
import { runPicture, stepWords } from "../parts/run_picture.js";
import { attempt } from "../toast.js";
import { runChip, runLink } from "./runs.js";

export async function show({ root, signal, params, query, on }) {
  const id = params[0];
  let picked = null;

  async function refresh() {
    const story = await get(
      `/runs/${encodeURIComponent(id)}${toQuery({ createdAt: query.get("createdAt") })}`,
      { signal },
    );
    // A form that somebody fills in stays.
    if (root.querySelector("form")?.contains(document.activeElement)) return;
    const act = focused()?.dataset.act;
    if (picked === null) picked = interesting(story.bars);
    draw(story);
    if (act) root.querySelector(`[data-act="${CSS.escape(act)}"]`)?.focus();
  }

  function draw(story) {
    const pick = (place) => {
      picked = place;
      draw(story);
      root.querySelector(`[data-act="step-${place}"]`)?.focus();
    };
    root.replaceChildren(...page(story, picked, pick, refresh));
  }

  const soon = throttle(() => refresh().catch(() => {}), 600);
  on("step", soon);
  on("cleared", () => (location.hash = "#/runs"));
  await refresh();
}

/** The step to look at first: one that failed, else one that is under way. */
function interesting(bars) {
  const failed = bars.findIndex((bar) => bar.state === "STEP_FAILED");
  if (failed >= 0) return failed;
  const open = bars.findIndex((bar) => bar.state !== "STEP_SUCCESS");
  return open >= 0 ? open : Math.max(bars.length - 1, 0);
}

function page(story, picked, pick, refresh) {
  const { run, summary, bars, children, sameId } = story;
  const kin = [
    ...(run.invoker
      ? [["invoked by", { runId: run.invoker.workflowRunId, createdAt: run.invoker.workflowRunCreatedAt }]]
      : []),
    ...children.map((child) => ["invoked", child]),
    ...sameId.map((other) => ["same id", other]),
  ];
  return [
    h(
      "div",
      { class: "head" },
      h("h1", { class: "grow break" }, summary.runId),
      runChip(summary.state),
      actions(story, refresh),
    ),
    h(
      "p",
      { class: "quiet break" },
      `${summary.url} · began `,
      ago(summary.createdAt),
      summary.endedAt === null ? "" : ` · took ${span(summary.endedAt - summary.createdAt)}`,
      " ",
      summary.labels.map((label) => h("span", { class: "tag" }, label)),
    ),
    summary.outcome.why
      ? h(
          "p",
          { class: summary.state === "RUN_STARTED" ? "notice" : "problem", role: "status" },
          h("b", {}, `${summary.outcome.what}: `),
          [summary.outcome.why, summary.outcome.advice].filter(Boolean).join("; "),
        )
      : null,
    h(
      "section",
      { class: "card" },
      h("header", {}, h("h2", {}, "Steps"), h("span", { class: "more" }, `${bars.length}`)),
      bars.length
        ? runPicture(story, { picked, onPick: pick })
        : h("div", { class: "empty" }, "No step yet."),
    ),
    bars[picked] ? stepCard(bars[picked], story, refresh) : null,
    h(
      "div",
      { class: "cards run-cards" },
      kin.length
        ? h(
            "section",
            { class: "card" },
            h("header", {}, h("h2", {}, "Parents and children")),
            h(
              "div",
              { class: "body" },
              h(
                "ul",
                { class: "kin" },
                kin.map(([how, other]) =>
                  h(
                    "li",
                    {},
                    h("span", { class: "quiet nowrap" }, how),
                    other.state ? runChip(other.state) : null,
                    h("a", { href: runLink(other) }, other.runId),
                  ),
                ),
              ),
            ),
          )
        : null,
      h(
        "section",
        { class: "card" },
        h("header", {}, h("h2", {}, "Payload and result")),
        h(
          "div",
          { class: "body stack" },
          bodyView(run.steps[0]?.steps[0]?.out ?? "", undefined, { label: "Initial payload" }),
          run.workflowRunResponse === undefined
            ? null
            : bodyView(run.workflowRunResponse, undefined, { label: "What the run returned" }),
        ),
      ),
      run.failureFunction ? failureCard(run.failureFunction) : null,
    ),
  ].filter(Boolean);
}

function actions({ summary, run, isInDlq }, refresh) {
  const act = (action, words) => async () => {
    await attempt(action, words);
    await refresh().catch(() => {});
  };
  const again = (verb) => async () => {
    const made = await attempt(
      () => post(`/v2/workflows/dlq/${verb}/${encodeURIComponent(run.dlqId)}`),
      verb === "resume" ? "It goes on as a new run" : "Begun anew as a new run",
    );
    if (made) location.hash = runLink({ runId: made.workflowRunId, createdAt: made.workflowCreatedAt });
  };
  return h(
    "div",
    { class: "row" },
    summary.state === "RUN_STARTED"
      ? button(
          "Cancel",
          act(() => remove(`/v2/workflows/runs/${encodeURIComponent(summary.runId)}`), "Cancelled"),
          { kind: "danger", act: "cancel" },
        )
      : null,
    isInDlq
      ? [
          button("Resume", again("resume"), {
            kind: "primary",
            act: "resume",
            title: "A new run that goes on at the step that failed",
          }),
          button("Restart", again("restart"), {
            act: "restart",
            title: "A new run from the initial payload",
          }),
        ]
      : null,
    isInDlq && run.failureFunction?.state === "CALLBACK_FAIL"
      ? button(
          "Send the failure callback again",
          act(() => post(`/v2/workflows/dlq/callback/${encodeURIComponent(run.dlqId)}`), "Sent again"),
          { act: "callback" },
        )
      : null,
  );
}

/** Start a run that has ended anew from a step; the results before it are kept. */
function rerunForm(bar, summary) {
  const payload = h("textarea", { rows: 2, name: "payload", spellcheck: "false", placeholder: "the same" });
  return h(
    "form",
    {
      class: "stack",
      onsubmit: async (event) => {
        event.preventDefault();
        focused()?.blur();
        const id = encodeURIComponent(summary.runId);
        const made = await attempt(
          () =>
            postJson(`/runs/${id}/rerun${toQuery({ createdAt: summary.createdAt })}`, {
              fromStep: bar.fromStep,
              input: payload.value || undefined,
            }),
          "Begun anew from this step as a new run",
        );
        if (made) location.hash = runLink({ runId: made.runId, createdAt: made.createdAt });
      },
    },
    h(
      "details",
      {},
      h("summary", {}, "Start again from this step"),
      h(
        "div",
        { class: "stack" },
        h("p", { class: "quiet" }, "A new run that keeps the results before it. This one stays as it is."),
        field("Initial payload", payload),
        h("div", {}, h("button", { class: "button", type: "submit", data: { act: "rerun" } }, "Start")),
      ),
    ),
  );
}

function stepCard(bar, { summary }, refresh) {
  const details = bar.details ?? {};
  return h(
    "section",
    { class: "card", "aria-label": `Step ${bar.name}` },
    h(
      "header",
      {},
      h("h2", {}, bar.name),
      h("span", { class: "more" }, [bar.kind, stepWords(bar)].filter(Boolean).join(" · ")),
    ),
    h(
      "div",
      { class: "body stack" },
      bar.waitsFor ? notifyForm(bar, summary, refresh) : null,
      details.callUrl
        ? h(
            "p",
            { class: "mono break" },
            `${details.callMethod} ${details.callUrl}${details.callResponseStatus === undefined ? "" : ` → ${details.callResponseStatus}`}`,
          )
        : null,
      details.callBody ? bodyView(details.callBody, undefined, { label: "What it sent" }) : null,
      bar.returned === undefined || bar.returned === null
        ? null
        : bodyView(bar.returned, undefined, { label: "What it returned" }),
      bar.failures.length
        ? h(
            "ul",
            { class: "stack" },
            bar.failures.map((one) =>
              h(
                "li",
                { class: "row" },
                h("span", { class: "chip bad" }, one.status || "no answer"),
                moment(one.at),
                h("span", { class: "break" }, one.reason),
              ),
            ),
          )
        : null,
      (details.errors ?? []).map((error) =>
        bodyView(error.body, undefined, { label: `Answer ${error.status}` }),
      ),
      bar.dueAt ? h("p", { class: "soft" }, "next attempt ", ago(bar.dueAt)) : null,
      summary.endedAt === null ? null : rerunForm(bar, summary),
      h(
        "p",
        { class: "row" },
        [...new Set(bar.messageIds)].map((id) =>
          h("a", { class: "mono quiet", href: `#/messages/${id}` }, `${id.slice(0, 16)}…`),
        ),
      ),
    ),
  );
}

function notifyForm(bar, summary, refresh) {
  const data = h("textarea", { rows: 2, name: "data", spellcheck: "false", placeholder: '{"by": "ann"}' });
  return h(
    "form",
    {
      class: "stack",
      onsubmit: async (event) => {
        event.preventDefault();
        focused()?.blur();
        await attempt(
          () =>
            post(`/v2/notify/${encodeURIComponent(summary.runId)}/${encodeURIComponent(bar.waitsFor)}`, {
              body: data.value || undefined,
            }),
          "Notified",
        );
        await refresh().catch(() => {});
      },
    },
    h("p", {}, "waits for ", h("b", { class: "mono" }, bar.waitsFor), " until ", moment(bar.deadlineAt)),
    field("Event data", data),
    h("div", {}, h("button", { class: "button primary", type: "submit", data: { act: "notify" } }, "Notify")),
  );
}

function failureCard(failure) {
  const words = {
    CALLBACK_INPROGRESS: ["under way", "ACTIVE"],
    CALLBACK_SUCCESS: ["succeeded", "good"],
    CALLBACK_FAIL: ["failed", "bad"],
    CALLBACK_CANCELED: ["cancelled", "CANCELED"],
  }[failure.state];
  return h(
    "section",
    { class: "card" },
    h("header", {}, h("h2", {}, "Failure callback"), h("span", { class: `chip ${words[1]}` }, words[0])),
    h(
      "div",
      { class: "body stack" },
      h("p", { class: "mono break" }, h("a", { href: `#/messages/${failure.messageId}` }, failure.url)),
      bodyView(failure.failResponse ?? "", undefined, {
        label: `What failed the run: ${failure.failStatus}`,
      }),
      failure.responseBody === undefined
        ? null
        : bodyView(failure.responseBody, undefined, { label: "What the failure function answered" }),
    ),
  );
}
