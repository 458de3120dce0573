import { createServer, type Server } from "node:http";
import { Client, Receiver } from "@upstash/qstash";

export interface Reminder {
  email: string;
  about: string;
}

/** Have `url` called with the reminder a day from now. */
export async function remind(url: string, reminder: Reminder): Promise<void> {
  await new Client().publishJSON({ url, body: reminder, delay: "1d", retries: 5 });
}

/** The endpoint that is called: it checks the signature, and hands the reminder to `send`. */
export function createApp(send: (reminder: Reminder) => Promise<void>): Server {
  return createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request.setEncoding("utf8")) body += chunk;
    const signature = String(request.headers["upstash-signature"]);
    const isGenuine = await new Receiver().verify({ signature, body }).catch(() => false);
    const status = isGenuine ? await send(JSON.parse(body)).then(() => 204, () => 500) : 401;
    response.writeHead(status).end();
  });
}
