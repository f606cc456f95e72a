/** Servers that misbehave, over real sockets; and which answers are worth another attempt. */
import type { ServerResponse } from "node:http";
import { expect, test } from "vitest";
import {
  APIConnectionError,
  Client,
  DeadlineError,
  OverloadedError,
  ProtocolError,
  RateLimitedError,
  ServerError,
  UnavailableError,
} from "../src/index.js";
import { answer, bodyOf, failure, JPEG, PREDICTION, rejection, serving } from "./support.js";

const RIGHT = JSON.stringify(answer(PREDICTION));

function json(response: ServerResponse, status: number, body: unknown, more = {}): void {
  response.writeHead(status, { "Content-Type": "application/json", ...more });
  response.end(typeof body === "string" ? body : JSON.stringify(body));
}

/** A client of a server that does each of these in turn, and the last one again and again. */
async function facing(options: object, ...turns: ((response: ServerResponse) => void)[]) {
  const counted = { requests: 0, ids: new Set<string>(), timeouts: [] as number[] };
  const url = await serving((request, response) => {
    counted.ids.add(String(request.headers["x-request-id"]));
    counted.timeouts.push(Number(request.headers["x-timeout-ms"]));
    const turn = turns[Math.min(counted.requests++, turns.length - 1)];
    void bodyOf(request).then(
      () => turn?.(response),
      () => {}, // the client went away
    );
  });
  return { client: new Client(url, options), counted };
}

const right = (response: ServerResponse) => json(response, 200, RIGHT);
const reset = (response: ServerResponse) => void response.socket?.resetAndDestroy();
const half = (response: ServerResponse) => {
  response.writeHead(200, { "Content-Length": RIGHT.length });
  response.write(RIGHT.slice(0, 50), () => response.socket?.destroy());
};
const brokenChunk = (response: ServerResponse) => {
  response.socket?.end("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n");
};
const noHttp = (response: ServerResponse) => response.socket?.end("SSH-2.0-OpenSSH_9.6\r\n\r\n");

test.each([
  ["a reset", reset],
  ["half an answer", half],
  ["a broken chunk", brokenChunk],
  ["no HTTP", noHttp],
])("%s is tried again, under the same request id", async (_, turn) => {
  const { client, counted } = await facing({}, turn, turn, right);
  expect((await client.predict(JPEG)).label).toBe("cat");
  expect([counted.requests, counted.ids.size]).toEqual([3, 1]);
});

test.each([
  ["a reset", reset],
  ["half an answer", half],
  ["a broken chunk", brokenChunk],
])("%s for good is an APIConnectionError", async (_, turn) => {
  const { client, counted } = await facing({ maxRetries: 1 }, turn);
  const error = await rejection(client.predict(JPEG));
  expect(error).toBeInstanceOf(APIConnectionError);
  const message = expect.stringContaining(`${client.url} cannot be reached: `);
  const cause = expect.any(Error);
  expect(error).toMatchObject({ requestId: [...counted.ids][0], message, cause });
  expect(counted.requests).toBe(2);
});

test("nobody listens", async () => {
  const client = new Client("http://127.0.0.1:9", { maxRetries: 0 });
  const error = await rejection(client.models());
  expect(error).toBeInstanceOf(APIConnectionError);
  expect(error).toHaveProperty("message", expect.stringMatching(/127.0.0.1:9 cannot be .*\w/));
});

test.each([
  [503, failure("overloaded"), OverloadedError],
  [503, failure("engine_unavailable"), UnavailableError],
  [429, failure("rate_limited"), RateLimitedError],
  [502, "<html>nginx</html>", UnavailableError],
  [504, "<html>nginx</html>", UnavailableError],
])("%i is tried again, and thrown in the end", async (status, body, kind) => {
  const busy = (response: ServerResponse) => json(response, status, body);
  const happy = await facing({}, busy, busy, right);
  expect((await happy.client.predict(JPEG)).label).toBe("cat");
  const sad = await facing({ maxRetries: 1 }, busy);
  const error = await rejection(sad.client.predict(JPEG));
  expect(error).toBeInstanceOf(kind);
  expect(error).toMatchObject({ status });
  expect(sad.counted.requests).toBe(2);
});

test.each([
  [500, failure("internal")],
  [400, failure("invalid_image")],
  [401, failure("unauthorized")],
  [404, failure("model_not_found")],
  [504, failure("deadline_exceeded")],
  [500, "<html>"],
  [200, "<html>a proxy says hello"],
])("%i %o is not tried again", async (status, body) => {
  const { client, counted } = await facing({}, (response) => json(response, status, body), right);
  await rejection(client.predict(JPEG));
  expect(counted.requests).toBe(1);
});

test("an error says when to come back, in seconds or as a date", async () => {
  const date = new Date(Date.now() + 90_000).toUTCString();
  for (const after of ["90", date]) {
    const busy = (response: ServerResponse) =>
      json(response, 503, failure("overloaded"), { "Retry-After": after });
    const { client, counted } = await facing({ maxRetries: 5, timeoutMs: 5000 }, busy);
    const error = await rejection(client.predict(JPEG));
    expect(error).toBeInstanceOf(OverloadedError);
    const after90 = error instanceof OverloadedError ? (error.retryAfterMs ?? 0) : 0;
    expect(after90).toBeGreaterThan(20_000);
    expect(after90).toBeLessThanOrEqual(90_000);
    // Waiting so long would go beyond the deadline, so nothing is waited for.
    expect(counted.requests).toBe(1);
  }
});

test("Retry-After is waited for", async () => {
  const busy = (response: ServerResponse) =>
    json(response, 503, failure("overloaded"), { "Retry-After": "1" });
  const { client, counted } = await facing({ timeoutMs: 30_000 }, busy, right);
  await client.predict(JPEG);
  const [first = 0, second = 0] = counted.timeouts;
  expect(first - second).toBeGreaterThanOrEqual(1000); // the server is told what is left
});

test("a slow body is bounded by the deadline, in and out", async () => {
  const drip = (response: ServerResponse) => {
    response.writeHead(200, { "Content-Length": 1000 });
    const timer = setInterval(() => response.write(" "), 20);
    response.on("close", () => clearInterval(timer));
  };
  const { client, counted } = await facing({ timeoutMs: 1000 }, drip);
  const error = await rejection(client.predict(JPEG));
  expect(error).toBeInstanceOf(DeadlineError);
  const message = `${client.url}: no whole answer within 1 s`;
  expect(error).toMatchObject({ message, requestId: [...counted.ids][0] });

  const deaf = await serving((request) => void request.pause());
  const large = new Uint8Array(30_000_000);
  large.set(JPEG);
  const stuck = await rejection(new Client(deaf, { timeoutMs: 300 }).predict(large));
  expect(stuck).toBeInstanceOf(DeadlineError);
});

test("a server that never answers is left at the deadline, retries included", async () => {
  const { client } = await facing({ timeoutMs: 400, maxRetries: 50 }, reset, reset, () => {});
  const error = await rejection(client.predict(JPEG));
  expect([DeadlineError, APIConnectionError].some((kind) => error instanceof kind)).toBe(true);
});

test("a redirect is not followed, and what it names is not asked", async () => {
  let visits = 0;
  const elsewhere = await serving((_, response) => {
    visits += 1;
    response.end(RIGHT);
  });
  for (const status of [301, 302, 307, 308]) {
    const { client } = await facing({ apiKey: "k" }, (response) =>
      json(response, status, "", { Location: `${elsewhere}/v1/predict` }),
    );
    const error = await rejection(client.predict(JPEG));
    expect(error).toBeInstanceOf(ServerError);
    expect(error).toHaveProperty("message", expect.stringMatching(`redirected to ${elsewhere}/v1`));
  }
  expect(visits).toBe(0);
});

test("a redirect that a browser hides is a ProtocolError", async () => {
  const opaque = new Response();
  Object.defineProperty(opaque, "type", { value: "opaqueredirect" });
  const client = new Client("http://x", { fetch: async () => opaque });
  const error = await rejection(client.predict(JPEG));
  expect(error).toBeInstanceOf(ProtocolError);
  const message = "http://x: redirected; redirects are not followed, set the url";
  expect(error).toHaveProperty("message", message);
});

test("health: not ready is an answer, a stranger is an error", async () => {
  const starting = (response: ServerResponse) => json(response, 503, "starting\n");
  const { client, counted } = await facing({}, starting, right, starting, starting, right);
  const detail = 'the server answered "starting" (503 http_503)';
  expect(await client.health()).toEqual({ ready: false, detail });
  expect(await client.health()).toEqual({ ready: true, detail: "" });
  await client.waitUntilReady();
  expect(counted.requests).toBe(5);
  const stranger = await facing({}, (response) => json(response, 404, "<h1>no"));
  await expect(stranger.client.waitUntilReady()).rejects.toMatchObject({ name: "NotFoundError" });
});

test("waiting for a server that does not come", async () => {
  const { client } = await facing({}, (response) => json(response, 503, "starting"));
  const error = await rejection(client.waitUntilReady({ timeoutMs: 2000 }));
  expect(error).toBeInstanceOf(DeadlineError);
  expect(error).toHaveProperty(
    "message",
    expect.stringMatching(/not ready within 2 s: .*starting/),
  );
  const away = new Client("http://127.0.0.1:9");
  const missing = await rejection(away.waitUntilReady({ timeoutMs: 2000 }));
  expect(missing).toHaveProperty("message", expect.stringMatching(/2 s: .*cannot be reached/));
});

test("an answer that grows without end is given up", async () => {
  let pulled = 0;
  const endless = new ReadableStream({
    pull(controller) {
      pulled += 1;
      controller.enqueue(new Uint8Array(2 ** 26));
    },
  });
  const client = new Client("http://x", { fetch: async () => new Response(endless) });
  await expect(client.predict(JPEG)).rejects.toThrow(/more than 268435456 bytes/);
  expect(pulled).toBeLessThan(8);
});
