// Workflows of the old client, a part of @upstash/qstash: run, sleep and call, triggered by a plain publish.
import assert from "node:assert/strict";
import { Client } from "@upstash/qstash";
import { serve } from "@upstash/qstash/workflow";

export function mount({ express, router, route, save, receiver, state, origin, url, token }) {
  const qstashClient = new Client({ baseUrl: url, token });
  const failureFunction = (context, failStatus, failResponse, failHeaders) => {
    const payload = context.requestPayload ?? null;
    state.failures.push({ failStatus, failResponse, payload, length: failHeaders["Content-Length"][0] });
  };
  // The old client has no adapter for Express: its handler takes a Request and gives a Response.
  const workflow = (path, run, more = {}) => {
    const handler = serve(run, { qstashClient, receiver, url: `${origin}${path}`, retries: 0, ...more });
    router.post(path, express.raw({ type: "*/*" }), async (request, response) => {
      try {
        const body = request.body?.length ? request.body : undefined;
        const answer = await handler(new Request(`${origin}${path}`, { method: "POST", headers: request.headers, body }));
        response.status(answer.status).send(await answer.text());
      } catch (error) {
        response.status(500).json({ error: error.name, message: error.message });
      }
    });
  };

  workflow("/old/path", async (context) => {
    assert.equal(context.requestPayload, "my-payload");
    const first = await context.run("step 1", () => `processed ${context.requestPayload}`);
    save(context, await context.run("step 2", async () => `processed ${first}`));
  });
  workflow("/old/sleep", async (context) => {
    const first = await context.run("step 1", () => 123);
    await context.sleepUntil("until", context.requestPayload.until);
    const second = await context.run("step 2", () => 234);
    await context.sleep("for", 2);
    save(context, [first, second, await context.run("step 3", () => 345)]);
  });
  workflow("/old/parallel", async (context) => {
    for (let attempt = 1; attempt <= 3; attempt++) {
      if (await context.run("attempt", () => attempt === 3)) {
        const all = await Promise.all([
          context.run("db", () => 10), context.run("receipt", () => "mail"), context.sleep("sleep", 5),
        ]);
        save(context, all.map((one) => one ?? null));
        return;
      }
      await context.sleep("again", 2);
    }
  });
  workflow("/old/call", async (context) => {
    if (context.headers.get("authentication") !== "Bearer secret") return;
    const target = `${origin}/old-third-party`;
    const post = await context.call("post", target, "POST", "post-payload", { "post-header": "post-value" });
    await context.sleep("sleep", 2);
    save(context, [post, await context.call("get", target, "GET", undefined, { "get-header": "get-value" })]);
  });
  route("/old-third-party", (request, response) => {
    const header = request.headers[`${request.method.toLowerCase()}-header`];
    response.type("text/plain").send(`${request.method} '${header}' '${request.method === "POST" ? request.body : ""}'`);
  });
  workflow("/old/fails", async (context) => {
    await context.run("fails", () => { throw new Error("my-error"); });
  }, { failureFunction });
}
