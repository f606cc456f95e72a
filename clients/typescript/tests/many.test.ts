/** predictMany: how pictures are read ahead, and how requests are slowed and ended. */
import { expect, test } from "vitest";
import { AuthenticationError, OverloadedError } from "../src/index.js";
import { collect, facing, labelOf, labels, picture, pictures, right } from "./several.js";
import { failure, hanging, rejection } from "./support.js";

test("several requests at once, no more than asked for, each picture once", async () => {
  let under = 0;
  let most = 0;
  const { client, seen } = facing(async (names) => {
    most = Math.max(most, ++under);
    await new Promise((ready) => setTimeout(ready, 10));
    under -= 1;
    return right(names);
  });
  const progress: [number, number | null][] = [];
  const onProgress = (...args: [number, number | null]) => progress.push(args);
  const run = client.predictMany(pictures(100), { concurrency: 3, onProgress });
  expect(await collect(run)).toEqual(labels(100));
  expect(most).toBe(3);
  expect(seen.flatMap((request) => request.labels).sort()).toEqual(labels(100).sort());
  expect(progress).toEqual(labels(100).map((_, i) => [i + 1, 100]));
});

test("no more than (concurrency + 1) * 16 are read ahead, and a generator has no total", async () => {
  let read = 0;
  function* endless() {
    for (;;) yield picture(read++);
  }
  const { client } = facing(right);
  let taken = 0;
  const onProgress = (_: number, total: number | null) => expect(total).toBeNull();
  for await (const _ of client.predictMany(endless(), { concurrency: 2, onProgress })) {
    taken += 1;
    expect(read - taken).toBeLessThanOrEqual(3 * 16);
    if (taken === 500) break;
  }
});

test("leaving the loop ends the requests and the generator", async () => {
  let closed = false;
  function* source() {
    try {
      for (let i = 0; ; i++) yield picture(i);
    } finally {
      closed = true;
    }
  }
  const { client, seen } = facing((names, call, { signal }) =>
    call ? hanging(signal) : right(names),
  );
  for await (const item of client.predictMany(source())) {
    expect(labelOf(item)).toBe("0");
    break;
  }
  expect(closed).toBe(true);
  expect(seen.length).toBeGreaterThan(1);
  expect(seen.slice(1).map((request) => request.signal?.aborted)).not.toContain(false);
});

test("a failure comes after the results before it, and nothing after it", async () => {
  const refuse = () => Response.json(failure("unauthorized"), { status: 401 });
  const { client } = facing((names) => (names.includes("30") ? refuse() : right(names)));
  const found: string[] = [];
  const run = client.predictMany(pictures(60), { concurrency: 2 });
  const error = await rejection(
    (async () => {
      for await (const item of run) found.push(labelOf(item));
    })(),
  );
  expect(error).toBeInstanceOf(AuthenticationError);
  expect(found.length).toBeGreaterThan(0);
  expect(found.length).toBeLessThanOrEqual(30);
  expect(found).toEqual(labels(found.length));
});

test("a picture that is bad by itself waits for those before it", async () => {
  const { client } = facing(() => Response.json(failure("unauthorized"), { status: 401 }));
  const run = client.predictMany([picture(0), new Blob(["text"])], { concurrency: 1 });
  await expect(run.next()).rejects.toThrow(AuthenticationError);
});

test("the next request is under way while a result is looked at", async () => {
  const { client, seen } = facing(right);
  const run = client.predictMany(pictures(32), { concurrency: 1 });
  await run.next();
  await new Promise((ready) => setTimeout(ready, 20));
  expect(seen.map((request) => request.labels.length)).toEqual([16, 16]);
  await run.return();
});

test("an error of the iterable, too, comes after the results before it", async () => {
  async function* failing() {
    yield* pictures(5);
    throw new RangeError("mine");
  }
  const found: string[] = [];
  const { client } = facing(right);
  const error = await rejection(
    (async () => {
      for await (const item of client.predictMany(failing())) found.push(labelOf(item));
    })(),
  );
  expect(error).toBeInstanceOf(RangeError);
  expect(found).toEqual(labels(5));
  await expect(client.predictBatch(failing())).rejects.toThrow(RangeError);
});

test("a slow source gets its answers before it goes on", async () => {
  const { client } = facing(right);
  let arrived = () => {};
  let given = 0;
  async function* live() {
    for (given = 0; given < 3; ) {
      yield picture(given++);
      // The next frame comes only after the answer to this one.
      await new Promise<void>((ready) => {
        arrived = ready;
      });
    }
  }
  const found: string[] = [];
  for await (const item of client.predictMany(live())) {
    found.push(labelOf(item));
    expect(given).toBe(found.length);
    arrived();
  }
  expect(found).toEqual(labels(3));
});

test("leaving does not wait for a source that is stuck", async () => {
  const { client } = facing(right);
  async function* stuck() {
    yield picture(0);
    await new Promise(() => {});
  }
  for await (const item of client.predictMany(stuck())) {
    expect(labelOf(item)).toBe("0");
    break;
  }
});

test("when one request is asked to wait, none is sent meanwhile", async () => {
  const sent: { label: string | undefined; after: number }[] = [];
  let refusedAt = 0;
  let other = () => {};
  const underWay = new Promise<void>((resolve) => {
    other = resolve;
  });
  const { client } = facing(async (names, call) => {
    sent.push({ label: names[0], after: performance.now() - refusedAt });
    if (call === 1) other();
    if (call === 0) {
      await underWay; // or a slow machine might hold the second back, too
      refusedAt = performance.now();
      const headers = { "Retry-After": "1" };
      return Response.json(failure("overloaded"), { status: 503, headers });
    }
    await new Promise((ready) => setTimeout(ready, 20));
    return right(names);
  });
  // Too large to share a request: two chunks of four requests each, side by side.
  const large = labels(8).map((label) => picture(label, 5e6));
  expect(await collect(client.predictMany(large, { concurrency: 2 }))).toEqual(labels(8));
  const [first, second, ...rest] = sent;
  expect([first?.label, second?.label]).toEqual(["0", "4"]);
  expect(rest).toHaveLength(7);
  for (const { after } of rest) expect(after).toBeGreaterThan(990);
});

test("a busy server is waited for beyond maxRetries, as long as the timeout allows", async () => {
  const busy = () => Response.json(failure("overloaded"), { status: 503 });
  const patient = facing((names, call) => (call < 4 ? busy() : right(names)), { maxRetries: 1 });
  expect(await collect(patient.client.predictMany(pictures(1)))).toEqual(["0"]);
  const hasty = facing((names, call) => (call < 1 ? busy() : right(names)), { maxRetries: 0 });
  await expect(collect(hasty.client.predictMany(pictures(1)))).rejects.toThrow(OverloadedError);
  const never = facing(busy, { maxRetries: 1, timeoutMs: 700 });
  await expect(collect(never.client.predictMany(pictures(1)))).rejects.toThrow(OverloadedError);
});

test("wrong options are refused at once", () => {
  const { client } = facing(right);
  for (const concurrency of [0, -1, 1.5, Number.NaN]) {
    expect(() => client.predictMany([], { concurrency })).toThrow(/concurrency is/);
  }
});
