/** What tests share: pictures of a few bytes, answers of the wire, and servers on loopback. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { onTestFinished } from "vitest";

/** The first bytes of a JPEG: enough for this side, which does not decode. */
export const JPEG = Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 1, 2, 3, 4);

/** A prediction as the server writes it, without maps. */
export const PREDICTION = {
  label: "cat",
  index: 3,
  probability: 0.75,
  top_k: [{ label: "cat", index: 3, probability: 0.75 }],
  input: { width: 20, height: 10, box: [5, 0, 15, 10] },
};

/** An answer of /v1/predict as the server writes it. */
export function answer(...predictions: unknown[]) {
  return {
    model: { name: "tiny", version: "1", sha256: "ab", provider: "cpu" },
    request_id: "id-of-the-server",
    timings_ms: { decode: 1, queue: 2, inference: 3, total: 6 },
    predictions,
  };
}

/** A failure of the whole request as the server writes it. */
export function failure(code: string, message = "so it is") {
  return { error: { code, message, request_id: "id-of-the-server" } };
}

/** The JSON with tensors behind it, as `Accept: application/octet-stream` asks for it. */
export function binary(json: unknown, ...tensors: Uint8Array[]): Response {
  const head = new TextEncoder().encode(typeof json === "string" ? json : JSON.stringify(json));
  const headers = {
    "Content-Type": "application/octet-stream",
    "Inference-Header-Content-Length": String(head.byteLength),
  };
  return new Response(Buffer.concat([head, ...tensors]), { headers });
}

/** A fetch that answers from a list, then with the last one again and again; and what it was asked. */
export function answering(...answers: (Response | Error | (() => Promise<Response>))[]) {
  const asked: {
    url: string;
    init: RequestInit;
    headers: Headers;
    body: Uint8Array<ArrayBuffer>;
  }[] = [];
  const fetcher: typeof fetch = async (url, init = {}) => {
    const body = init.body instanceof Uint8Array ? new Uint8Array(init.body) : new Uint8Array();
    asked.push({ url: String(url), init, headers: new Headers(init.headers), body });
    const next = answers[Math.min(asked.length, answers.length) - 1];
    if (next instanceof Response) return next.clone();
    if (typeof next === "function") return next();
    throw next;
  };
  return { fetch: fetcher, asked };
}

/** A promise that never settles but for the signal, as fetch's. */
export function hanging(signal: AbortSignal | null | undefined): Promise<never> {
  return new Promise((_, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/** The address of a server that does this with every request, until the test is over. */
export async function serving(
  handle: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server = createServer(handle);
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  return typeof address === "object" && address ? `http://127.0.0.1:${address.port}` : "";
}

/** The whole body of a request. */
export async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const blocks: Buffer[] = [];
  for await (const block of request) blocks.push(block);
  return Buffer.concat(blocks);
}

/** What a promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it did not reject");
}
