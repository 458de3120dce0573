// The workflows under test. Each saves what it computed under its run id; a wrong value throws, and shows.
import assert from "node:assert/strict";
import { WorkflowNonRetryableError } from "@upstash/workflow";

const LARGE = "x".repeat(512 * 1024);

export function mount({ workflow, route, save, client, state, origin }) {
  // The worked example

  workflow("/order", async (context) => {
    const { orderId, qty } = context.requestPayload;
    assert.equal(context.headers.get("x-tenant"), "acme");
    const price = await context.run("price", () => ({ total: 21 * qty }));
    await context.sleep("cool-off", 2);
    const held = await context.run("reserve", () => "held");
    const charge = await context.call("charge", {
      url: `${origin}/charge`, method: "POST", body: { amount: price.total }, headers: { "x-idem": String(orderId) },
    });
    const both = await Promise.all([
      context.run("email", () => "sent"),
      context.run("stock", () => 1),
    ]);
    const { eventData } = await context.waitForEvent("approval", "order-7", { timeout: "1h" });
    save(context, { held, charge: charge.body, status: charge.status, both, eventData });
    return { done: true, by: eventData.by };
  });
  route("/charge", (request, response) => {
    state.charged = { headers: request.headers, body: request.body, method: request.method };
    response.status(201).json({ id: "ch_1" });
  });

  // Values, headers, sleeps

  workflow("/path", async (context) => {
    const input = context.requestPayload;
    assert.equal(context.headers.get("x-test"), "value");
    const first = await context.run("step 1", async () => input);
    const second = await context.run("step 2", () => first);
    const third = await context.run("step 3", () => Promise.resolve({ second }));
    save(context, third.second);
  });
  workflow("/raw-payload", async (context) => {
    const kept = await context.run("keep", () => context.requestPayload);
    save(context, kept);
  }, { initialPayloadParser: (text) => `raw:${text}` });
  workflow("/sleep", async (context) => {
    const times = [await context.run("one", () => 1)];
    await context.sleep("three", 3);
    times.push(await context.run("two", () => 2));
    await context.sleepUntil("until", context.requestPayload.until);
    times.push(await context.run("three", () => 3));
    save(context, times);
  });
  workflow("/charges", async (context) => {
    for (let attempt = 1; attempt <= 3; attempt++) {
      const success = await context.run("attempt", () => attempt === 3);
      if (success) {
        const all = await Promise.all([
          context.run("db", () => 10), context.run("receipt", () => "mail"), context.sleep("sleep", 5),
        ]);
        save(context, all.map((one) => one ?? null));
        return;
      }
      await context.sleep("again", 2);
    }
  });

  // Authorization at the endpoint

  workflow("/auth", async (context) => {
    if (context.headers.get("authorization") !== "Bearer secret") return;
    await context.run("one", () => 1);
    save(context, await context.run("two", () => "authorized"));
  });
  workflow("/auth-target", async (context) => {
    if (context.headers.get("authorization") !== "Bearer secret") return;
    await context.run("never", () => 1);
  }, { failureFunction: async () => {} });
  workflow("/auth-custom", async (context) => {
    const answers = [];
    for (const headers of [
      { "Upstash-Workflow-Is-Failure": "true" }, { "Upstash-Workflow-Callback": "true" }, {},
    ]) {
      const body = { status: 200, header: "", body: "", url: "", sourceHeader: {}, sourceBody: "", workflowRunId: "", sourceMessageId: "" };
      const answer = await context.call(`call ${answers.length}`, {
        url: `${origin}/auth-target`, method: "POST", headers, body,
      });
      answers.push([answer.status, answer.body.message]);
    }
    save(context, answers);
  });

  // Calls

  workflow("/calls", async (context) => {
    const target = `${origin}/third-party`;
    const post = await context.call("post", {
      url: target, method: "POST", body: "post-payload",
      headers: { "post-header": "post-value", "content-type": "application/x-custom" },
    });
    await context.sleep("sleep", 2);
    const get = await context.call("get", { url: target, headers: { "get-header": "get-value" } });
    const patch = await context.call("patch", { url: target, method: "PATCH", retries: 1, retryDelay: "1000" });
    const put = await context.call("put", { url: target, method: "PUT", retries: 0 });
    const del = await context.call("delete", { url: target, method: "DELETE", retries: 0 });
    save(context, {
      post: [post.status, post.body], get: [get.status, get.body, get.header["X-Reply-Name"]],
      patch: [patch.status, patch.body], put: [put.status, put.body, typeof put.body], delete: [del.status, del.body],
    });
  }, { retries: 0 });
  route("/third-party", (request, response) => {
    switch (request.method) {
      case "POST":
        return response.status(201).type("text/plain")
          .send(`POST '${request.headers["post-header"]}' '${request.headers["content-type"]}' '${request.body}'`);
      case "PATCH":
        return response.status(401).type("text/plain").send("failing request");
      case "PUT":
        return response.status(300).end();
      case "DELETE":
        return response.status(400).json({ foo: "bär – ☃", zed: 2 });
      default:
        return response.status(200).set("x-reply-name", "reply").type("text/plain").send("got it");
    }
  });
  workflow("/call-fails", async (context) => {
    const answer = await context.call("fails", { url: `${origin}/third-party`, method: "PATCH" });
    save(context, answer.status);
  }, { failureFunction: async () => state.failures.push("called") });
  workflow("/call-fails-url", async (context) => {
    const answer = await context.call("fails", { url: `${origin}/third-party`, method: "PATCH" });
    save(context, answer.status);
  });

  // Failures

  const failing = async ({ context, failStatus, failResponse, failStack }) => {
    state.failures.push({
      runId: context.workflowRunId, failStatus, failResponse, hasStack: Boolean(failStack),
      payload: context.requestPayload ?? null, label: context.label ?? null, tenant: context.headers.get("x-tenant"),
    });
    return state.failureAnswer;
  };
  // A route that lets its first request in, and again the one that brings its failure.
  let requests = 0;
  workflow("/returns-before-step", async (context) => {
    requests += 1;
    if (requests === 2) await context.run("never run", () => {});
  }, { failureFunction: failing });
  workflow("/fails", async (context) => {
    await context.run("step", () => { throw new Error("my-error"); });
  }, { failureFunction: failing });
  workflow("/fails-for-good", async (context) => {
    await context.run("step", () => { throw new WorkflowNonRetryableError("no way"); });
  }, { failureFunction: failing });
  workflow("/fails-plainly", async (context) => {
    await context.run("ok", () => 1);
    await context.run("step", () => { throw new Error("my-error"); });
  });
  let broken = true;
  route("/mend", (_request, response) => { broken = false; response.json({}); });
  workflow("/mended", async (context) => {
    const one = await context.run("counted", () => { state.log.counted = (state.log.counted ?? 0) + 1; return 1; });
    const two = await context.run("breaks", () => { if (broken) throw new Error("broken"); return 2; });
    save(context, [one, two]);
  });
  route("/failure-url", (request, response) => {
    state.failures.push({ headers: request.headers, body: JSON.parse(request.body) });
    response.status(state.failureUrlStatus ?? 200).json({});
  });
  route("/set", (request, response) => { Object.assign(state, JSON.parse(request.body)); response.json({}); });
  // Events and webhooks

  workflow("/lookback", async (context) => {
    await context.sleep("late", 60);
    const first = await context.waitForEvent("early", "early", { timeout: "1d" });
    const second = await context.waitForEvent("early again", "early", { timeout: "1d" });
    save(context, [first.eventData, second.eventData]);
  });
  workflow("/webhook", async (context) => {
    const unused = await context.createWebhook("unused");
    const gone = await context.waitForWebhook("never", unused, "1s");
    const webhook = await context.createWebhook("webhook");
    await context.call("caller", { url: `${origin}/webhook-caller`, method: "POST", body: webhook });
    const { request, timeout } = await context.waitForWebhook("wait", webhook, "30s");
    const seen = await context.run("see", async () => ({
      same: request.url === webhook.webhookUrl, method: request.method, header: request.headers.get("x-hook"),
      body: await request.json(),
    }));
    save(context, { gone: [gone.timeout, gone.request ?? null], timeout, seen });
  });
  route("/webhook-caller", async (request, response) => {
    const { webhookUrl } = JSON.parse(request.body);
    const answer = await fetch(webhookUrl, { method: "PUT", headers: { "x-hook": "yes" }, body: '{"hook":"bär"}' });
    response.json(answer.status);
  });

  // Large bodies: the list is left for the SDK to fetch

  workflow("/large-initial", async (context) => {
    const size = context.requestPayload.length;
    await context.run("one", () => 1);
    await context.run("two", () => 2);
    await context.run("three", () => 3);
    save(context, size);
  });
  workflow("/large-result", async (context) => {
    const large = await context.run("large", () => LARGE);
    save(context, await context.run("size", () => large.length));
  });
  workflow("/large-parallel", async (context) => {
    const first = await Promise.all([context.run("none", () => undefined), context.run("large", () => LARGE)]);
    const second = await Promise.all([context.run("large 2", () => LARGE), context.run("none 2", () => undefined)]);
    save(context, [first[0] ?? null, first[1].length, second[0].length, second[1] ?? null]);
  });
  workflow("/large-call", async (context) => {
    const answer = await context.call("large", { url: `${origin}/large`, method: "GET" });
    save(context, await context.run("size", () => answer.body.length));
  });
  route("/large", (_request, response) => response.type("text/plain").send(LARGE));
  workflow("/large-error", async (context) => {
    await context.run("throws", () => { throw new Error(LARGE); });
  }, { failureFunction: async ({ failResponse }) => state.failures.push(failResponse.length) });

  // Over the REST API, and other first deliveries

  workflow("/triggered", async (context) => {
    await context.run("work", () => 1);
    save(context, [context.requestPayload, context.headers.get("x-trigger"), context.label ?? null]);
    return "triggered";
  }, { failureFunction: failing });

  // Cancelled while it works

  workflow("/slow", async (context) => {
    await context.run("cancels itself", async () => {
      await client.cancel(context.workflowRunId);
      return 1;
    });
    save(context, "went on");
  });
  workflow("/slow-parallel", async (context) => {
    await context.run("cancels itself", () => client.cancel(context.workflowRunId).then(() => 1));
    await Promise.all([context.run("a", () => 1), context.run("b", () => 1)]);
    save(context, "went on");
  });
  workflow("/cancels", async (context) => {
    await context.run("one", () => 1);
    await context.cancel();
  });
  workflow("/sleeps", async (context) => {
    await context.sleep("long", "7d");
    save(context, "slept");
  });
}
