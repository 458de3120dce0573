// Schedules: the next week of firings on a strip, in the schedule's own zone; run now, pause.

import { get, post, remove } from "../api.js";
import { button, field, h, patch, throttle } from "../dom.js";
import { ago, clockTime } from "../format.js";
import { strip } from "../parts/strip.js";
import { attempt } from "../toast.js";

export async function show({ root, signal, on }) {
  const list = h("div", { class: "card" });
  const nothing = h("div", { class: "card" }, h("div", { class: "empty" }, "No schedule yet."));
  root.append(h("div", { class: "head" }, h("h1", {}, "Schedules")), list, nothing, newSchedule(refresh));

  async function refresh() {
    const { schedules, now } = await get("/schedules", { signal });
    const day = Math.floor(now / 60_000);
    patch(
      list,
      schedules.map((one) => ({ ...one, day })),
      (one) => one.schedule.scheduleId,
      (one) => drawn(one, now, refresh),
    );
    list.hidden = !schedules.length;
    nothing.hidden = schedules.length > 0;
  }
  const soon = throttle(() => refresh().catch(() => {}), 400);
  on("changed", (kinds) => kinds.includes("schedules") && soon());
  on("cleared", soon);
  await refresh();
}

function drawn(one, now, refresh) {
  const { schedule } = one;
  return h(
    "section",
    { class: "schedule", "aria-label": schedule.scheduleId },
    headOf(one, refresh),
    strip(one, now),
    lastRun(schedule),
  );
}

/** What a schedule is, and what can be done with it. */
export function headOf({ schedule, zone, firings, firingsLocal }, refresh, { isAlone = false } = {}) {
  const path = `/v2/schedules/${encodeURIComponent(schedule.scheduleId)}`;
  const act = (action, words) => async () => {
    await attempt(action, words);
    await refresh();
  };
  const spec = schedule.cron.replace(/^(CRON_)?TZ=\S+\s*/, "");
  return h(
    "div",
    { class: "row" },
    isAlone ? null : h("a", { href: `#/schedules/${schedule.scheduleId}` }, h("b", {}, schedule.scheduleId)),
    h("code", { class: "tag" }, spec),
    h("span", { class: "quiet" }, zone),
    schedule.isPaused
      ? h("span", { class: "chip warn" }, "paused")
      : schedule.nextScheduleTime
        ? h(
            "span",
            { class: "soft" },
            "next ",
            ago(schedule.nextScheduleTime),
            ` (${inItsZone(schedule.nextScheduleTime, firings, firingsLocal)})`,
          )
        : h("span", { class: "chip" }, "no time ever matches"),
    h("span", { class: "break quiet" }, `→ ${schedule.method} ${schedule.destination}`),
    h(
      "span",
      { class: "acts" },
      button(
        "Run now",
        act(
          () => post(`/schedules/${encodeURIComponent(schedule.scheduleId)}/run-now`),
          "Published, once more than the cron line asks",
        ),
        { kind: "small", act: "run" },
      ),
      schedule.isPaused
        ? button(
            "Resume",
            act(() => post(`${path}/resume`), "It goes on"),
            { kind: "small", act: "pause" },
          )
        : button(
            "Pause",
            act(() => post(`${path}/pause`), "Paused"),
            { kind: "small", act: "pause" },
          ),
      button(
        "Delete",
        async () => {
          if (confirm(`Delete the schedule ${schedule.scheduleId}? Messages that it made live on.`))
            await act(() => remove(path), "Deleted")();
        },
        { kind: "small danger", act: "delete" },
      ),
    ),
  );
}

/** A firing in the schedule's zone, as its strip has it; else as this browser's clock shows it. */
function inItsZone(at, firings, firingsLocal) {
  const place = firings.indexOf(at);
  return place < 0 ? clockTime(at) : firingsLocal[place].replace("T", " ");
}

export function lastRun(schedule) {
  if (schedule.error)
    return h("p", { class: "problem" }, `The last firing made no message: ${schedule.error}`);
  if (!schedule.lastScheduleTime) return null;
  const states = Object.entries(schedule.lastScheduleStates ?? {});
  return h(
    "p",
    { class: "quiet" },
    `last ${clockTime(schedule.lastScheduleTime)} `,
    states.map(([id, state]) => [
      h(
        "a",
        { href: `#/messages/${id}` },
        h(
          "span",
          { class: `chip ${{ SUCCESS: "good", FAIL: "bad" }[state] ?? "ACTIVE"}` },
          { SUCCESS: "delivered", FAIL: "failed" }[state] ?? "under way",
        ),
      ),
      " ",
    ]),
  );
}

function newSchedule(refresh) {
  const destination = h("input", {
    type: "text",
    required: true,
    placeholder: "http://localhost:3000/api/report",
    name: "destination",
  });
  const cron = h("input", { type: "text", required: true, placeholder: "0 9 * * MON-FRI", name: "cron" });
  const zone = h("input", {
    type: "text",
    placeholder: "UTC",
    name: "zone",
    value: Intl.DateTimeFormat().resolvedOptions().timeZone,
  });
  const name = h("input", {
    type: "text",
    placeholder: "made for you",
    pattern: "[A-Za-z0-9_.\\-]+",
    name: "scheduleId",
  });
  const body = h("textarea", { rows: 3, name: "body", spellcheck: "false" });
  return h(
    "section",
    { class: "card" },
    h(
      "div",
      { class: "body" },
      h(
        "details",
        {},
        h("summary", {}, "New schedule"),
        h(
          "form",
          {
            class: "stack",
            onsubmit: async (event) => {
              event.preventDefault();
              const headers = {
                "Upstash-Cron": zone.value.trim() ? `CRON_TZ=${zone.value.trim()} ${cron.value}` : cron.value,
                "Content-Type": "application/json",
              };
              if (name.value) headers["Upstash-Schedule-Id"] = name.value;
              await attempt(
                () =>
                  post(`/v2/schedules/${destination.value.trim()}`, {
                    headers,
                    body: body.value || undefined,
                  }),
                "The schedule is there",
              );
              await refresh();
            },
          },
          h(
            "div",
            { class: "grid2" },
            field("Destination", destination),
            field("Cron", cron, "minute hour day-of-month month day-of-week"),
            field("Zone", zone),
            field("Id", name),
          ),
          field("Body", body),
          h("div", {}, h("button", { class: "button primary", type: "submit" }, "Make it")),
        ),
      ),
    ),
  );
}
