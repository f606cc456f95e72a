import { expect, test } from "vitest";
import { Pool } from "../src/queue.js";

const never = new AbortController().signal;

/** Tasks that end when they are told to, and which of them have begun. */
function tasks() {
  const begun: string[] = [];
  const ends = new Map<string, () => void>();
  const task = (name: string) => () =>
    new Promise<string>((resolve) => {
      begun.push(name);
      ends.set(name, () => resolve(name));
    });
  const end = async (name: string) => {
    ends.get(name)?.();
    await settled();
  };
  return { begun, task, end };
}

/** After everything that waits for nothing but its turn. */
function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

test("so many run at a time, the others in their order", async () => {
  const { begun, task, end } = tasks();
  const pool = new Pool(2);
  const results = ["a", "b", "c", "d"].map((name) => pool.run(task(name), never));
  expect(begun).toEqual(["a", "b"]);
  await end("b");
  expect(begun).toEqual(["a", "b", "c"]);
  await end("a");
  await end("c");
  await end("d");
  expect(await Promise.all(results)).toEqual(["a", "b", "c", "d"]);
});

test("a task that fails gives its place to the next", async () => {
  const pool = new Pool(1);
  const failed = pool.run(() => Promise.reject(new Error("no")), never);
  const next = pool.run(() => Promise.resolve("yes"), never);
  await expect(failed).rejects.toThrow("no");
  expect(await next).toBe("yes");
});

test("what is aborted while it waits is never begun, and takes no place", async () => {
  const { begun, task, end } = tasks();
  const pool = new Pool(1);
  const removed = new AbortController();
  const first = pool.run(task("a"), never);
  const second = pool.run(task("b"), removed.signal);
  const third = pool.run(task("c"), never);
  removed.abort(new Error("removed"));
  await expect(second).rejects.toThrow("removed");
  await end("a");
  await end("c");
  expect(begun).toEqual(["a", "c"]);
  expect(await Promise.all([first, third])).toEqual(["a", "c"]);
});

test("what was aborted before does not begin", async () => {
  const { begun, task } = tasks();
  const asked = new Pool(1).run(task("a"), AbortSignal.abort(new Error("gone")));
  await expect(asked).rejects.toThrow("gone");
  expect(begun).toEqual([]);
});

test("a place that is passed on is taken", async () => {
  const { begun, task, end } = tasks();
  const pool = new Pool(1);
  void pool.run(task("a"), never);
  void pool.run(task("b"), never);
  await end("a");
  void pool.run(task("c"), never);
  expect(begun).toEqual(["a", "b"]);
});
