// Calls to the server. Everything goes under /emulator/, where foreign pages are refused; the token travels in the
// Authorization header alone.

import { currentToken, forgetToken } from "./session.js";

export class ApiError extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/**
 * @typedef {object} CallOptions
 * @property {BodyInit} [body]
 * @property {Record<string, string>} [headers]
 * @property {AbortSignal} [signal]
 */

/**
 * The JSON answer of one call. Throws ApiError with the server's own words.
 *
 * @param {string} method
 * @param {string} path below /emulator
 * @param {CallOptions} [options]
 * @returns {Promise<any>}
 */
export async function call(method, path, { body, headers = {}, signal } = {}) {
  const token = currentToken();
  let response;
  try {
    response = await fetch(`/emulator${path}`, {
      method,
      body,
      signal,
      credentials: "omit",
      headers: { Authorization: `Bearer ${token ?? ""}`, ...headers },
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "the server does not answer; is it running?");
  }
  const text = await response.text();
  const value = text ? parse(text) : {};
  if (response.ok) return value;
  // A late answer to an earlier token says nothing about the present one.
  if (response.status === 401 && token !== null && token === currentToken()) forgetToken();
  throw new ApiError(response.status, value.error ?? `the server answered ${response.status}`);
}

/** @type {(path: string, options?: CallOptions) => Promise<any>} */
export const get = (path, options) => call("GET", path, options);
/** @type {(path: string, options?: CallOptions) => Promise<any>} */
export const post = (path, options) => call("POST", path, options);
/** @type {(path: string, options?: CallOptions) => Promise<any>} */
export const remove = (path, options) => call("DELETE", path, options);

/** POST with a JSON body. */
export const postJson = (path, value) =>
  post(path, { body: JSON.stringify(value), headers: { "Content-Type": "application/json" } });

/** `?a=1&b=2` of what is given. */
export function query(parameters) {
  const pairs = Object.entries(parameters).filter(
    ([, value]) => value !== undefined && value !== null && value !== "",
  );
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return { error: text.slice(0, 500) };
  }
}
