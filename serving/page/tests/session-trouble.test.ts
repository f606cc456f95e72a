import { expect, test } from "vitest";
import {
  add,
  answer,
  asked,
  last,
  models,
  predictions,
  problem,
  session,
  soon,
  states,
  store,
} from "./session.js";

test("a busy server is asked again by itself, and the picture says that it waits", async () => {
  add("a");
  await soon();
  last("/v1/predict").answer(503, problem("overloaded"));
  await soon();
  expect(store.state.items[0]).toMatchObject({ status: "busy", waiting: true });
  await soon(10_000);
  expect(predictions()).toHaveLength(2);
  last("/v1/predict").answer(200, answer());
  await soon();
  expect(store.state.items[0]).toMatchObject({ status: "done", waiting: false });
});

test("a server that stays busy fails the picture, until it is asked about again", async () => {
  add("a");
  for (let attempt = 0; attempt < 3; attempt++) {
    await soon(10_000);
    last("/v1/predict").answer(503, problem("overloaded"));
  }
  await soon(10_000);
  expect(store.state.items[0]?.failure?.kind).toBe("busy");
  const [item] = store.state.items;
  if (item) session.again(item);
  await soon();
  last("/v1/predict").answer(200, answer());
  await soon();
  expect(states()).toEqual(["done"]);
});

test("what failed for want of a key is asked again with it; the state never holds it", async () => {
  add("a");
  await soon();
  last("/v1/predict").answer(401, problem("unauthorized"));
  await soon();
  expect(store.state.trouble).toEqual({ kind: "key", known: false });
  void session.useKey("wrong");
  await soon();
  last("/v1/models").answer(401, problem("unauthorized"));
  await soon();
  expect(store.state.trouble).toEqual({ kind: "key", known: true });
  void session.useKey("right-s3cret");
  await soon();
  last("/v1/models").answer(200, models("1"));
  await soon();
  expect(last("/v1/predict").headers.get("authorization")).toBe("Bearer right-s3cret");
  last("/v1/predict").answer(200, answer());
  await soon();
  expect([states(), store.state.trouble, store.state.keyed]).toEqual([["done"], null, true]);
  expect(JSON.stringify(store.state)).not.toContain("s3cret");
});

test("a key that was changed meanwhile is not blamed for the refusal of the one before", async () => {
  void session.useKey("old");
  add("a");
  await soon();
  const before = last("/v1/predict");
  void session.useKey("new");
  await soon();
  before.answer(401, problem("unauthorized"));
  await soon();
  expect(last("/v1/predict").headers.get("authorization")).toBe("Bearer new");
  expect([states(), store.state.trouble]).toEqual([["busy"], null]);
});

test("a key that a busy server could not look at is tried on the pictures", async () => {
  add("a");
  await soon();
  last("/v1/predict").answer(401, problem("unauthorized"));
  await soon();
  void session.useKey("right");
  for (let attempt = 0; attempt < 3; attempt++) {
    await soon(10_000);
    last("/v1/models").answer(503, problem("overloaded"));
  }
  await soon();
  expect(store.state.trouble).toBeNull();
  expect(last("/v1/predict").headers.get("authorization")).toBe("Bearer right");
});

test("what cannot be a key is told as such", async () => {
  void session.useKey("a key\nwith lines");
  await soon();
  expect(asked).toEqual([]);
  expect(store.state.trouble).toEqual({ kind: "key", known: true });
});

test("a server that is gone is looked for, and asked again when it is back", async () => {
  add("a");
  for (let attempt = 0; attempt < 3; attempt++) {
    await soon(10_000);
    last("/v1/predict").break();
  }
  await soon();
  expect(store.state.trouble).toEqual({ kind: "gone" });
  expect(states()).toEqual(["failed"]);
  last("/readyz").break();
  await soon(2000);
  last("/readyz").answer(503, {});
  await soon(2000);
  expect(store.state.trouble).toEqual({ kind: "gone" });
  last("/readyz").answer(200, {});
  await soon();
  expect(store.state.trouble).toBeNull();
  last("/v1/models").answer(200, models("1"));
  await soon();
  last("/v1/predict").answer(200, answer());
  await soon();
  expect(states()).toEqual(["done"]);
});
