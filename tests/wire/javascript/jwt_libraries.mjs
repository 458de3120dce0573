// What two JWT libraries make of a delivery's signature. Reads {token, key} from stdin, answers on stdout: the claims, and what
// each says with another key and with a reader that asks for an audience.

import { createSecretKey } from "node:crypto";
import { text } from "node:stream/consumers";
import { jwtVerify } from "jose";
import jsonwebtoken from "jsonwebtoken";

const libraries = {
  jose: async (token, key, audience) => {
    const { payload } = await jwtVerify(token, createSecretKey(key, "utf8"), {
      algorithms: ["HS256"], issuer: "Upstash", ...(audience && { audience }),
    });
    return payload;
  },
  jsonwebtoken: (token, key, audience) =>
    jsonwebtoken.verify(token, key, { algorithms: ["HS256"], issuer: "Upstash", ...(audience && { audience }) }),
};

async function claims(verify, ...given) {
  try {
    return await verify(...given);
  } catch (error) {
    return error.message;
  }
}

const { token, key } = JSON.parse(await text(process.stdin));
const answers = {};
for (const [name, verify] of Object.entries(libraries)) {
  answers[name] = {
    claims: await claims(verify, token, key),
    withAnotherKey: await claims(verify, token, `${key}x`),
    withAnAudience: await claims(verify, token, key, "https://example.com"),
  };
}
console.log(JSON.stringify(answers));
