// One publish, written as curl, Python and TypeScript. What the SDKs have a name for is written by that name.

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const quoted = (text) => JSON.stringify(text);

/**
 * `publish`: {destination, queue, body, contentType, headers: [[name, value]], options: {retries, delay, …}}; all
 * options are texts as the headers take them.
 */
export function curl(publish, url) {
  const lines = [`curl -X POST "${url}${pathOf(publish)}"`, `-H "Authorization: Bearer $QSTASH_TOKEN"`];
  for (const [name, value] of headersOf(publish)) lines.push(`-H ${shell(`${name}: ${value}`)}`);
  if (publish.body) lines.push(`--data-raw ${shell(publish.body)}`);
  return lines.join(" \\\n  ");
}

export const pathOf = ({ destination, queue }) =>
  queue ? `/v2/enqueue/${encodeURIComponent(queue)}/${destination}` : `/v2/publish/${destination}`;

const HEADER_NAMES = {
  method: "Upstash-Method",
  retries: "Upstash-Retries",
  retryDelay: "Upstash-Retry-Delay",
  delay: "Upstash-Delay",
  notBefore: "Upstash-Not-Before",
  timeout: "Upstash-Timeout",
  label: "Upstash-Label",
  deduplicationId: "Upstash-Deduplication-Id",
  callback: "Upstash-Callback",
  failureCallback: "Upstash-Failure-Callback",
  flowKey: "Upstash-Flow-Control-Key",
  flowValue: "Upstash-Flow-Control-Value",
  redact: "Upstash-Redact-Fields",
};

/** The header lines of the request. */
export function headersOf(publish) {
  const lines = [];
  if (publish.contentType) lines.push(["Content-Type", publish.contentType]);
  for (const [option, name] of Object.entries(HEADER_NAMES))
    if (publish.options[option]) lines.push([name, publish.options[option]]);
  for (const [name, value] of publish.headers) if (name) lines.push([`Upstash-Forward-${name}`, value]);
  return lines;
}

const isUrl = (destination) => /^https?:\/\//i.test(destination);
const digits = (text) => (/^\d+$/.test(text) ? text : quoted(text));

function flowParts(value) {
  const parts = {};
  for (const item of (value ?? "").split(",")) {
    const [name, amount] = item.split("=").map((text) => text.trim());
    if (name && amount) parts[name] = amount;
  }
  return parts;
}

function fieldsOf(publish, names, flow) {
  const { options } = publish;
  const fields = [[isUrl(publish.destination) ? "url" : names.group, quoted(publish.destination)]];
  if (publish.queue && names.queueField) fields.push([names.queueField, quoted(publish.queue)]);
  if (publish.body) fields.push(["body", quoted(publish.body)]);
  const headers = publish.headers.filter(([name]) => name);
  if (publish.contentType)
    fields.push([names.contentType, names.isContentTypeHeader ? null : quoted(publish.contentType)]);
  const map = [
    ...(names.isContentTypeHeader && publish.contentType ? [["Content-Type", publish.contentType]] : []),
    ...headers,
  ];
  if (map.length)
    fields.push([
      "headers",
      `{ ${map.map(([name, value]) => `${quoted(name)}: ${quoted(value)}`).join(", ")} }`,
    ]);
  for (const option of [
    "method",
    "retries",
    "retryDelay",
    "delay",
    "notBefore",
    "timeout",
    "deduplicationId",
    "callback",
    "failureCallback",
    "label",
  ]) {
    if (options[option])
      fields.push([
        names[option] ?? option,
        ["retries", "notBefore"].includes(option) ? digits(options[option]) : quoted(options[option]),
      ]);
  }
  if (options.flowKey)
    fields.push([names.flowControl, flow({ key: quoted(options.flowKey), ...flowParts(options.flowValue) })]);
  if (options.redact) fields.push(names.redact(options.redact));
  return fields.filter(([, value]) => value !== null);
}

const redactParts = (text) =>
  text
    .split(",")
    .map((item) => item.trim())
    .filter(Boolean);

export function python(publish) {
  const { options, queue } = publish;
  const names = {
    group: "url_group",
    contentType: "content_type",
    retryDelay: "retry_delay",
    notBefore: "not_before",
    deduplicationId: "deduplication_id",
    failureCallback: "failure_callback",
    flowControl: "flow_control",
    redact: (text) => ["redact", pythonRedact(redactParts(text))],
  };
  const flow = (parts) =>
    `{ ${Object.entries(parts)
      .map(([name, value]) => `"${name}": ${name === "key" ? value : digits(value)}`)
      .join(", ")} }`;
  const fields = [...(queue ? [["queue", quoted(queue)]] : []), ...fieldsOf(publish, names, flow)];
  const call = (method) => [
    `client.message.${method}(`,
    ...fields.map(([name, value]) => `    ${name}=${value},`),
    ")",
  ];
  // The SDK's enqueue() has no parameters for these; its batch() has.
  const isBatch = queue && (options.delay || options.notBefore || options.flowKey);
  const batch = [
    "client.message.batch([",
    "    {",
    ...fields.map(([name, value]) => `        "${name}": ${value},`),
    "    }",
    "])",
  ];
  return [
    "import os",
    "",
    "from qstash import QStash",
    "",
    `client = QStash(os.environ["QSTASH_TOKEN"], base_url=os.environ["QSTASH_URL"])`,
    ...(isBatch ? batch : call(queue ? "enqueue" : "publish")),
  ].join("\n");
}

function pythonRedact(items) {
  const fields = [];
  if (items.includes("body")) fields.push(`"body": True`);
  const named = items
    .filter((item) => item.includes("["))
    .map((item) => quoted(item.replace(/^headers?\[|\]$/g, "")));
  if (items.includes("header") || items.includes("headers")) fields.push(`"header": True`);
  else if (named.length) fields.push(`"header": [${named.join(", ")}]`);
  return `{ ${fields.join(", ")} }`;
}

export function typescript(publish) {
  const names = {
    group: "urlGroup",
    isContentTypeHeader: true,
    flowControl: "flowControl",
    redact: (text) => [
      "redact",
      pythonRedact(redactParts(text))
        .replaceAll("True", "true")
        .replaceAll('"body"', "body")
        .replaceAll('"header"', "header"),
    ],
  };
  const flow = (parts) =>
    `{ ${Object.entries(parts)
      .map(([name, value]) => `${name}: ${name === "key" ? value : digits(value)}`)
      .join(", ")} }`;
  const fields = fieldsOf(publish, names, flow);
  const target = publish.queue
    ? `client.queue({ queueName: ${quoted(publish.queue)} }).enqueue`
    : "client.publish";
  return [
    `import { Client } from "@upstash/qstash";`,
    "",
    "const client = new Client({ baseUrl: process.env.QSTASH_URL, token: process.env.QSTASH_TOKEN });",
    `await ${target}({`,
    ...fields.map(([name, value]) => `  ${name}: ${value},`),
    "});",
  ].join("\n");
}

/** What a message's own view says, as a publish that repeats it. */
export function publishOf(message, timeoutMs) {
  const header = Object.entries(message.header ?? {}).flatMap(([name, values]) =>
    values.map((value) => [name, value]),
  );
  const contentType = header.find(([name]) => name === "Content-Type")?.[1] ?? "";
  const flow = [
    ["parallelism", message.parallelism],
    ["rate", message.rate],
    ["period", message.rate && `${message.period}s`],
  ].filter(([, value]) => value);
  return {
    destination: message.url,
    queue: message.queueName ?? "",
    body: message.body ?? "",
    contentType,
    headers: header.filter(([name]) => name !== "Content-Type"),
    options: {
      method: message.method === "POST" ? "" : message.method,
      retries: message.maxRetries === 3 ? "" : String(message.maxRetries),
      retryDelay: message.retryDelayExpression ?? "",
      timeout: timeoutMs ? `${Math.ceil(timeoutMs / 1000)}s` : "",
      label: (message.labels ?? []).join(","),
      callback: message.callback ?? "",
      failureCallback: message.failureCallback ?? "",
      flowKey: message.flowControlKey ?? "",
      flowValue: message.flowControlKey ? flow.map(([name, value]) => `${name}=${value}`).join(",") : "",
    },
  };
}
