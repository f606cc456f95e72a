/** Aborting: at every point, with the caller's own reason, and nothing is left behind. */
import { getEventListeners } from "node:events";
import { describe, expect, test, vi } from "vitest";
import { type CallOptions, Client } from "../src/index.js";
import { answer, answering, failure, hanging, JPEG, PREDICTION, rejection } from "./support.js";

const REASON = { mine: true };
const busy = () =>
  Response.json(failure("overloaded"), { status: 503, headers: { "Retry-After": "3" } });

/** Aborts when the event loop has had time to get stuck where it should. */
async function aborted(call: (options: CallOptions) => Promise<unknown>, ms = 30): Promise<void> {
  const controller = new AbortController();
  const { signal } = controller;
  const promise = call({ signal });
  setTimeout(() => controller.abort(REASON), ms);
  expect(await rejection(promise)).toBe(REASON);
  expect(getEventListeners(signal, "abort")).toEqual([]);
}

async function drained(run: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of run);
}

const stuckFetch: typeof fetch = (_, init) => hanging(init?.signal);
const deafFetch: typeof fetch = () => new Promise(() => {});
const stuckBody: typeof fetch = async () =>
  new Response(new ReadableStream({ start: (controller) => controller.enqueue(JPEG) }));
const stuckBlob = Object.assign(new Blob([JPEG]), { slice: () => ({ arrayBuffer: forever }) });
function forever(): Promise<never> {
  return new Promise(() => {});
}
async function* stuckSource() {
  yield JPEG;
  await forever();
}

describe("rejects with the reason", () => {
  const stuck = new Client("http://x", { fetch: stuckFetch });
  const deaf = new Client("http://x", { fetch: deafFetch });
  const pausing = new Client("http://x", { fetch: async () => busy(), maxRetries: 9 });
  const half = new Client("http://x", { fetch: stuckBody });
  const fine = answering(Response.json(answer(PREDICTION)));
  const good = new Client("http://x", { fetch: fine.fetch });

  test.each<[string, (options: CallOptions) => Promise<unknown>]>([
    ["a request", (options) => stuck.predict(JPEG, options)],
    ["a fetch that does not listen", (options) => deaf.predict(JPEG, options)],
    ["an answer's body", (options) => half.predict(JPEG, options)],
    ["a pause", (options) => pausing.predict(JPEG, options)],
    ["fetching a URL", (options) => stuck.predict("https://x.org/a.jpg", options)],
    ["reading a Blob", (options) => good.predict(stuckBlob, options)],
    ["a batch", (options) => stuck.predictBatch([JPEG], options)],
    ["a batch's source", (options) => good.predictBatch(stuckSource(), options)],
    ["a batch's pause", (options) => pausing.predictBatch([JPEG], options)],
    ["many", (options) => drained(stuck.predictMany([JPEG, JPEG], options))],
    ["many, fetching a URL", (options) => drained(stuck.predictMany(["https://x.org/a"], options))],
    [
      "many, of a source that is stuck",
      (options) => drained(good.predictMany(stuckSource(), options)),
    ],
    ["many, in a pause", (options) => drained(pausing.predictMany([JPEG, JPEG], options))],
    ["models", (options) => stuck.models(options)],
    ["health", (options) => stuck.health(options)],
    ["waiting", (options) => pausing.waitUntilReady(options)],
    ["waiting for one that hangs", (options) => deaf.waitUntilReady(options)],
  ])("%s", (_, call) => aborted(call));
});

test("many, of a source that is stuck for longer than a chunk waits to fill", async () => {
  const { fetch } = answering(Response.json(answer(PREDICTION)));
  const good = new Client("http://x", { fetch });
  await aborted((options) => drained(good.predictMany(stuckSource(), options)), 200);
});

test("a signal that is aborted already lets nothing be sent", async () => {
  const { fetch, asked } = answering(Response.json(answer(PREDICTION)));
  const client = new Client("http://x", { fetch });
  const signal = AbortSignal.abort(REASON);
  const calls = [
    client.predict(JPEG, { signal }),
    client.predict("https://x.org/a.jpg", { signal }),
    client.predictBatch([JPEG], { signal }),
    drained(client.predictMany([JPEG], { signal })),
    client.models({ signal }),
    client.health({ signal }),
    client.waitUntilReady({ signal }),
  ];
  for (const call of calls) expect(await rejection(call)).toBe(REASON);
  expect(asked).toEqual([]);
});

test("many: an abort between two results ends the loop", async () => {
  const { fetch } = answering(Response.json(answer(PREDICTION)));
  const controller = new AbortController();
  const { signal } = controller;
  const run = new Client("http://x", { fetch }).predictMany([JPEG, JPEG, JPEG], { signal });
  const first = await run.next();
  expect(first.done).toBe(false);
  controller.abort(REASON);
  expect(await rejection(run.next())).toBe(REASON);
  expect((await run.next()).done).toBe(true);
});

test("the request's own signal is aborted with it", async () => {
  let inner: AbortSignal | null | undefined;
  const client = new Client("http://x", {
    fetch: (_, init) => {
      inner = init?.signal;
      return hanging(inner);
    },
  });
  await aborted((options) => client.predict(JPEG, options));
  expect(inner?.reason).toBe(REASON);
});

test("AbortSignal.timeout rejects with its TimeoutError", async () => {
  const client = new Client("http://x", { fetch: stuckFetch });
  const error = await rejection(client.models({ signal: AbortSignal.timeout(20) }));
  expect(error).toMatchObject({ name: "TimeoutError" });
  expect(error).toBeInstanceOf(DOMException);
});

test("no timer and no listener is left of a call that is over", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const { fetch } = answering(Response.json(answer(PREDICTION)));
    const client = new Client("http://x", { fetch });
    const { signal } = new AbortController();
    await client.predict(JPEG, { signal });
    await client.predict(new Blob([JPEG]), { signal });
    await client.predictBatch([JPEG], { signal });
    await drained(client.predictMany([JPEG], { signal }));
    const refusing = new Client("http://x", { fetch: async () => busy(), maxRetries: 0 });
    await rejection(refusing.predict(JPEG, { signal }));
    expect(vi.getTimerCount()).toBe(0);
    expect(getEventListeners(signal, "abort")).toEqual([]);
  } finally {
    vi.useRealTimers();
  }
});

test("a pause that is over has left nothing", async () => {
  const fine = () => Promise.resolve(Response.json(answer(PREDICTION)));
  const { fetch } = answering(new TypeError("broken"), fine);
  const { signal } = new AbortController();
  await new Client("http://x", { fetch }).predict(JPEG, { signal });
  expect(getEventListeners(signal, "abort")).toEqual([]);
});
