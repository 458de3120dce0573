import { verifySignatureAppRouter } from "@upstash/qstash/nextjs";
import { mail } from "../../../lib/mail";

export const POST = verifySignatureAppRouter(async (request: Request) => {
  const { email } = (await request.json()) as { email: string };
  await mail.send(email, "Welcome");
  return Response.json({ welcomed: email });
});
