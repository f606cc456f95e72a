/** The only file that knows fetch: sends a request, reads the whole answer, names what went wrong. */

import type { Deadline } from "./deadline.js";
import { APIConnectionError, ProtocolError } from "./errors.js";

/** The bytes of a whole body; typed so that fetch takes them. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** One HTTP request. `limit` bounds the answer's body, in bytes. */
export interface Request {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Bytes;
  readonly limit: number;
  readonly redirect: "follow" | "manual";
}

/** One whole HTTP answer. */
export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Bytes;
}

/**
 * The whole answer, within the deadline.
 *
 * @throws APIConnectionError, ProtocolError (too large), TimeUp, or the signal's reason.
 */
export function send(fetcher: typeof fetch, request: Request, deadline: Deadline): Promise<Reply> {
  return deadline.bound(async (signal) => {
    const { url, headers, body, redirect } = request;
    const init: RequestInit = { method: body ? "POST" : "GET", headers, redirect, signal };
    if (body) init.body = body;
    init.cache = "no-store"; // an answer about a picture, or whether a server is ready, is of now
    try {
      const response = await fetcher(url, init);
      checkRedirect(response);
      const answer = await read(response, request.limit);
      return { status: response.status, headers: response.headers, body: answer };
    } catch (error) {
      if (error instanceof ProtocolError) throw error;
      throw new APIConnectionError(reason(error), null, { cause: error });
    }
  });
}

// What browsers give for "manual" says that there was a redirect, and neither status nor target.
function checkRedirect(response: Response): void {
  if (response.type === "opaqueredirect") {
    throw new ProtocolError("redirected; redirects are not followed, set the url");
  }
}

async function read(response: Response, limit: number): Promise<Bytes> {
  const reader = response.body?.getReader();
  const blocks: Uint8Array[] = [];
  let size = 0;
  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.byteLength;
    if (size > limit) {
      reader.cancel().catch(() => {}); // lets the connection go; what comes of it is not awaited
      throw new ProtocolError(`the answer has more than ${limit} bytes`);
    }
    blocks.push(value);
  }
  return concat(blocks, size);
}

/** The blocks in one piece. */
export function concat(blocks: readonly Uint8Array[], size: number): Bytes {
  const whole = new Uint8Array(size);
  let at = 0;
  for (const block of blocks) {
    whole.set(block, at);
    at += block.byteLength;
  }
  return whole;
}

// fetch says "fetch failed", and what happened is its cause, or the cause of that.
function reason(error: unknown): string {
  let found = error;
  while (found instanceof Error && found.cause instanceof Error) found = found.cause;
  if (!(found instanceof Error)) return "the connection broke";
  const code = "code" in found ? String(found.code) : "";
  const said = found.message || code || "the connection broke";
  return said.includes(code) ? said : `${said} (${code})`;
}
