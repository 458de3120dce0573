// An Express app whose workflows the tests run, with the SDK unmodified and signatures on.
// POST /__configure points it at an emulator and forgets what it saw; /__state tells what it saw since.
import { Receiver } from "@upstash/qstash";
import { Client } from "@upstash/workflow";
import { serve, serveMany } from "@upstash/workflow/express";
import express from "express";
import * as order from "./workflows.mjs";

const outer = express();
let router = express.Router();
let client;
export const state = { deliveries: [], results: {}, log: {}, failures: [] };

outer.post("/__configure", express.json(), (request, response) => {
  const { url, token, currentKey, nextKey } = request.body;
  Object.assign(state, { deliveries: [], results: {}, log: {}, failures: [] });
  client = new Client({ baseUrl: url, token });
  const options = {
    qstashClient: client.client,
    receiver: new Receiver({ currentSigningKey: currentKey, nextSigningKey: nextKey }),
  };
  const origin = `http://127.0.0.1:${listener.address().port}`;
  router = express.Router();
  const tools = { express, serve, serveMany, options, client, state, origin, url, token };
  order.mount(router, tools);
  response.json({ origin });
});

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
