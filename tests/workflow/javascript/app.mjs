// An Express app whose workflows the tests run, with the SDK unmodified and signatures on.
// POST /__configure points it at an emulator and forgets what it saw; /__state tells what it saw since.
import { Receiver } from "@upstash/qstash";
import { Client } from "@upstash/workflow";
import { serve, serveMany } from "@upstash/workflow/express";
import express from "express";
import * as oldClient from "./old_client.mjs";
import * as several from "./several.mjs";
import * as workflows from "./workflows.mjs";

const outer = express();
let router = express.Router();
let client;
let working = [];
const state = {};

outer.post("/__configure", express.json(), (request, response) => {
  const { url, token, currentKey, nextKey } = request.body;
  for (const name of Object.keys(state)) delete state[name];
  Object.assign(state, { deliveries: [], results: {}, log: {}, failures: [] });
  working = [];
  client = new Client({ baseUrl: url, token });
  const receiver = new Receiver({ currentSigningKey: currentKey, nextSigningKey: nextKey });
  const options = { qstashClient: client.client, receiver };
  const origin = `http://127.0.0.1:${listener.address().port}`;
  router = express.Router();
  const parsers = [express.json({ limit: "50mb" }), express.text({ limit: "50mb" })];
  const tools = {
    express, router, receiver, client, state, origin, url, token,
    save: (context, value) => (state.results[context.workflowRunId] = value ?? null),
    workflow: (path, run, more) => router.use(path, ...parsers, serve(run, { ...options, ...more })),
    workflows: (path, many, more) => router.use(path, ...parsers, serveMany(many, { ...options, ...more })),
    route: (path, handler) => router.all(path, express.text({ type: "*/*", limit: "50mb" }), handler),
    background: (work) => working.push(work()),
  };
  workflows.mount(tools);
  several.mount(tools);
  oldClient.mount(tools);
  response.json({ origin });
});

// Answers when what endpoints went on with after they had answered is done.
outer.post("/__finish", async (_request, response) => response.json((await Promise.all(working)).length));

outer.post("/__client", express.json({ limit: "50mb" }), async (request, response) => {
  const { method, args } = request.body;
  try {
    const names = method.split(".");
    const owner = names.slice(0, -1).reduce((value, name) => value[name], client);
    response.json({ answer: (await owner[names.at(-1)](...args)) ?? null });
  } catch (error) {
    response.json({ error: { name: error.name, message: error.message, status: error.status } });
  }
});

outer.get("/__state", (_request, response) => response.json(state));

outer.use((request, _response, next) => {
  const { host, "upstash-signature": _signature, ...headers } = request.headers;
  state.deliveries.push({ path: request.path, method: request.method, headers });
  next();
});
outer.use((request, response, next) => router(request, response, next));

const listener = outer.listen(0, "127.0.0.1", () => console.log(`listening on ${listener.address().port}`));
