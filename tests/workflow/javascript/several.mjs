// Workflows that meet others: one starts, calls, notifies or invokes another. Their steps are those of the vendor's own
// integration tests, so that the numbers of deliveries are theirs too (contract W12).
import assert from "node:assert/strict";
import { WorkflowMiddleware, WorkflowNonRetryableError } from "@upstash/workflow";
import { createWorkflow } from "@upstash/workflow/express";

const HUGE = 1_000_000;
const LARGE = "x".repeat(512 * 1024);
const soon = () => new Promise((done) => setTimeout(done, 10));

export function mount({ workflow, workflows, route, background, save, client, state, origin, url, token }) {
  const look = async (workflowRunId) => {
    assert.equal(typeof workflowRunId, "string");
    return (await client.logs({ workflowRunId })).runs[0];
  };
  const heard = async ({ failResponse }) => state.failures.push(failResponse);
  const checkCreation = (context) => assert.ok(context.workflowRunCreatedAt > 0);

  // Events, from an ordinary endpoint and from another workflow

  workflow("/waits", async (context) => {
    assert.equal(context.headers.get("x-test"), "value");
    const gone = await context.waitForEvent("nobody", "nobody", { timeout: 1 });
    assert.equal(context.requestPayload, "payload");
    const names = await context.run("names", () => ({ plain: "plain-event", text: "text-event", object: "object-event" }));
    const [told, plain] = await Promise.all([
      context.call("notifier", {
        url: `${origin}/notifier`, method: "POST", body: names, headers: { authorization: "Bearer secret" },
      }),
      context.waitForEvent("plain", names.plain, { timeout: 5 }),
    ]);
    const [started, text] = await Promise.all([
      context.call("notifier workflow", { url: `${origin}/notifier-workflow`, method: "POST", body: names }),
      context.waitForEvent("text", names.text, { timeout: 5 }),
    ]);
    const object = await context.waitForEvent("object", names.object, { timeout: 5 });
    await context.sleep("let the other return", 1);
    const other = await context.run("look", () => state.results[started.body.workflowRunId]);
    save(context, {
      gone: [gone.timeout, gone.eventData ?? null], told: [told.status, told.body],
      plain: [plain.timeout, plain.eventData], text: [text.timeout, text.eventData],
      object: [object.timeout, object.eventData], other,
    });
  }, { retries: 0 });
  route("/notifier", (request, response) => {
    assert.equal(request.headers.authorization, "Bearer secret");
    const { plain: eventId } = JSON.parse(request.body);
    background(async () => {
      // The branch that waits is delivered beside the call that leads here.
      while ((await client.getWaiters({ eventId })).length === 0) await soon();
      await client.notify({ eventId, eventData: "plain text" });
    });
    response.type("text/plain").send("notifying");
  });
  workflow("/notifier-workflow", async (context) => {
    const { text, object } = context.requestPayload;
    await context.sleep("before text", 1);
    const first = await context.notify("text", text, "text ☃");
    await context.sleep("before object", 1);
    const second = await context.notify("object", object, { some: ["data"] });
    save(context, await context.run("count", () => [first, second].map((one) => one.notifyResponse.length)));
  }, { retries: 0 });

  // Something that is no workflow, and calls that no plan allows

  route("/not-a-workflow", (request, response) => response.status(200).type("text/plain").send("not a workflow"));
  workflow("/trigger-non-workflow", async (context) => {
    const { workflowRunId } = await context.run("trigger", () => client.trigger({ url: `${origin}/not-a-workflow` }));
    await context.sleep("wait", 5);
    save(context, await context.run("check", () => look(workflowRunId)));
  });

  const single = createWorkflow(async (context) => {
    await context.call("huge", { url: `${origin}/third-party`, method: "GET", retries: HUGE });
  });
  const parallel = createWorkflow(async (context) => {
    const normal = { url: `${origin}/answers-too-late`, method: "POST", body: context.workflowRunId, retries: 0 };
    await Promise.all([
      context.call("normal", normal),
      context.call("huge", { url: `${origin}/third-party`, method: "GET", retries: HUGE }),
    ]);
  });
  const quota = createWorkflow(async (context) => {
    assert.equal(context.headers.get("x-test"), "value");
    const [one, two] = await Promise.all([
      context.call("call single", { workflow: single, body: { some: "payload" }, retries: 0 }),
      context.call("call parallel", { workflow: parallel, body: { some: "payload" }, retries: 0 }),
    ]);
    await context.sleep("let them fail", 5);
    const first = await context.run("look at single", () => look(one.body.workflowRunId));
    const second = await context.run("look at parallel", () => look(two.body.workflowRunId));
    save(context, { single: first, parallel: second });
  });
  workflows("/quota", { quota, single, parallel }, { failureFunction: heard });
  route("/answers-too-late", async (request, response) => {
    // As a host on the Internet does: a report of this call, before the other one fails the run, is a request more.
    while ((await look(request.body)).workflowState !== "RUN_FAILED") await soon();
    response.json({});
  });

  // Runs started by POST /v2/trigger

  const trigger = async (target, headers, body) => {
    const answer = await fetch(`${url}/v2/trigger/${origin}${target}`, {
      method: "POST", body: JSON.stringify(body),
      headers: {
        "content-type": "application/json", authorization: `Bearer ${token}`, "upstash-retries": "0",
        "upstash-forward-x-trigger": "yes", ...headers,
      },
    });
    assert.equal(answer.status, 200);
    return answer.json();
  };
  const main = createWorkflow(async (context) => {
    checkCreation(context);
    assert.equal(context.headers.get("x-test"), "value");
    assert.deepEqual(context.requestPayload, { test: "payload" });
    const webhook = await context.createWebhook("webhook");
    const body = { webhookUrl: webhook.webhookUrl };
    await context.run("unknown sdk", () =>
      trigger("/fetch/hooked", { "upstash-workflow-unknown-sdk": "true" }, { ...body, LARGE }));
    await context.run("known sdk", () => trigger("/fetch/hooked", {}, body));
    const failed = await context.run("no sdk of v1", () => trigger("/fetch-target", {}, { data: "test" }));
    const hits = [];
    for (let hit = 0; hit < 2; hit++) {
      const { request, timeout } = await context.waitForWebhook("wait for webhook", webhook, "30s");
      hits.push([timeout, request.method, await request.json()]);
    }
    const run = await context.run("look", () => look(failed.workflowRunId));
    await context.sleep("let all requests come", 2);
    save(context, { failed, hits, run });
  });
  const hooked = createWorkflow(async (context) => {
    checkCreation(context);
    assert.equal(context.headers.get("x-trigger"), "yes");
    const { webhookUrl } = context.requestPayload;
    await context.run("work", () => "done");
    const wasHeard = await context.run("call webhook", async () => {
      const headers = { "content-type": "application/json" };
      return (await fetch(webhookUrl, { method: "POST", headers, body: '{"result":"hooked"}' })).ok;
    });
    save(context, wasHeard);
    return { wasHeard };
  });
  workflows("/fetch", { main, hooked }, { failureFunction: heard });
  // The header alone that every SDK answers with, and not the one that those since 1.0 do.
  route("/fetch-target", (request, response) => {
    assert.equal(request.headers["x-trigger"], "yes");
    response.set("Upstash-Workflow-Sdk-Version", "1").json({ success: true });
  });

  // Invoke

  const two = createWorkflow(async (context) => {
    assert.equal(context.requestPayload, "invoke-payload");
    await context.run("one", () => {});
    assert.equal(context.executor.invokeCount, 1);
    await context.run("two", () => {});
    const [left, right] = await Promise.all([
      context.invoke("branch one", { workflow: branchOne, body: 1 }),
      context.invoke("branch two", { workflow: branchTwo, body: 2 }),
    ]);
    return [left.body, right.body, context.label, context.headers.get("invoke-header")];
  });
  const three = createWorkflow(async () => { throw new Error("what"); });
  const four = createWorkflow(async (context) => { await context.run("mock", () => {}); });
  const branchOne = createWorkflow(async (context) => {
    const { timeout } = await context.waitForEvent("timeout", "invoke-timeout", { timeout: 1 });
    assert.equal(timeout, true);
    assert.equal(context.executor.invokeCount, 2);
    const { timeout: late } = await context.waitForEvent("notified", "invoke-event", { timeout: "20s" });
    await context.sleep("check", 1);
    return { late };
  });
  const branchTwo = createWorkflow(async (context) => {
    await context.call("call", { url: `${origin}/third-party`, method: "GET" });
    await context.sleep("wait", 5);
    const { notifyResponse } = await context.notify("notify", "invoke-event", "data");
    await context.sleep("check", 1);
    return notifyResponse.length;
  });
  const one = createWorkflow(async (context) => {
    const runId = await context.run("step 1", () => "invoked-two");
    const done = await context.invoke("two", {
      workflow: two, body: "invoke-payload", headers: { "invoke-header": "yes" }, workflowRunId: runId, label: "invoke-label",
    });
    const called = await context.call("four", { workflow: four, body: { some: "payload" }, retries: 0 });
    const failed = await context.invoke("three", { workflow: three, body: "invoke-payload", retries: 0 });
    await context.run("step 2", () => {});
    await context.sleep("wait for four", 3);
    save(context, {
      done: [done.body, done.isFailed, done.isCanceled], called: typeof called.body.workflowRunId,
      failed: [failed.body ?? null, failed.isFailed, failed.isCanceled],
    });
  });
  workflows("/invoke", { one, two, three, four, branchOne, branchTwo });

  // The step fails once its sibling is at work: a run that has failed invokes nobody.
  let childIsHere;
  const childCame = new Promise((resolve) => { childIsHere = resolve; });
  const child = createWorkflow(async (context) => {
    childIsHere();
    await context.sleep("sleep", 3);
    await context.run("child step", () => {});
  });
  const failingParent = createWorkflow(async (context) => {
    await Promise.all([
      context.invoke("invoke child", { workflow: child, body: undefined }),
      context.run("failing step", async () => { await childCame; throw new WorkflowNonRetryableError("step failed"); }),
    ]);
  });
  const top = createWorkflow(async (context) => {
    const runId = await context.run("step 1", () => "failing-parent");
    const { isFailed } = await context.invoke("invoke", { workflow: failingParent, body: undefined, workflowRunId: runId });
    save(context, { isFailed, run: await context.run("look", () => look(`wfr_${runId}`)) });
  });
  workflows("/parent", { top, failingParent, child });

  // What the SDK says of itself

  const log = (workflowRunId, line) => workflowRunId && (state.log[workflowRunId] ??= []).push(line);
  const middleware = new WorkflowMiddleware({
    name: "log",
    callbacks: {
      runStarted: ({ context }) => log(context.workflowRunId, "runStarted"),
      runCompleted: ({ context, result }) => log(context.workflowRunId, `runCompleted ${JSON.stringify(result)}`),
      beforeExecution: ({ context, stepName }) => log(context.workflowRunId, `before ${stepName}`),
      afterExecution: ({ context, stepName }) => log(context.workflowRunId, `after ${stepName}`),
      onError: ({ workflowRunId, error }) => log(workflowRunId, `error ${error.message}`),
      onWarning: ({ workflowRunId, warning }) => log(workflowRunId, `warning ${warning}`),
      onInfo: ({ workflowRunId, info }) => log(workflowRunId, info),
    },
  });
  const runAndSleep = createWorkflow(async (context) => {
    checkCreation(context);
    assert.equal(await context.run("run step", () => "result"), "result");
    await context.sleep("sleep step", 1);
    return context.workflowRunId;
  });
  const call = createWorkflow(async (context) => {
    checkCreation(context);
    const { status } = await context.call("call step", { url: `${origin}/third-party`, method: "GET" });
    assert.equal(status, 200);
    return context.workflowRunId;
  });
  const waitInVain = createWorkflow(async (context) => {
    checkCreation(context);
    const { timeout } = await context.waitForEvent("wait step", "never", { timeout: 1 });
    assert.equal(timeout, true);
    return context.workflowRunId;
  });
  const logged = createWorkflow(async (context) => {
    checkCreation(context);
    const runs = {};
    for (const [name, invoked] of Object.entries({ runAndSleep, call, waitInVain })) {
      const { body: runId, isFailed } = await context.invoke(`invoke ${name}`, { workflow: invoked, body: "test" });
      assert.equal(isFailed, false);
      runs[name] = await context.run(`look at ${name}`, () => runId);
    }
    save(context, runs);
  });
  workflows("/logs", { logged, runAndSleep, call, waitInVain }, { middlewares: [middleware] });
}
