import { expect, test, vi } from "vitest";
import {
  add,
  answer,
  last,
  models,
  predictions,
  problem,
  session,
  soon,
  states,
  store,
} from "./session.js";

test("another model is asked about all pictures, and late answers of the first do not count", async () => {
  void session.loadModels();
  await soon();
  last("/v1/models").answer(200, models("1", "2"));
  await soon();
  add("a", "b");
  await soon();
  const before = predictions();
  expect(before.map(({ query }) => query.get("version"))).toEqual(["1", "1"]);
  session.choose({ name: "tiny", version: "2" });
  await soon();
  expect(before.map(({ signal }) => signal?.aborted)).toEqual([true, true]);
  expect(states()).toEqual(["busy", "busy"]);
  const after = predictions().slice(2);
  expect(after.map(({ query }) => query.get("version"))).toEqual(["2", "2"]);
  for (const one of before) one.answer(200, answer("late"));
  for (const one of after) one.answer(200, answer("right"));
  await soon();
  expect(store.state.items.map(({ prediction }) => prediction?.label)).toEqual(["right", "right"]);
});

test("an answer that waited for the picture does not count when another model was chosen", async () => {
  const decoded: ((bitmap: unknown) => void)[] = [];
  vi.stubGlobal("createImageBitmap", () => new Promise((resolve) => decoded.push(resolve)));
  add("a");
  await soon();
  last("/v1/predict").answer(200, answer("late"));
  await soon();
  session.choose({ name: "tiny", version: "2" });
  decoded[0]?.({ width: 10, height: 10, close: () => {} });
  await soon();
  expect(store.state.items[0]).toMatchObject({ status: "busy", prediction: null });
});

test("a model that was replaced meanwhile is asked by its new version", async () => {
  void session.loadModels();
  await soon();
  last("/v1/models").answer(200, models("1"));
  await soon();
  add("a");
  await soon();
  last("/v1/predict").answer(404, problem("model_not_found"));
  await soon();
  last("/v1/models").answer(200, models("2"));
  await soon();
  expect(last("/v1/predict").query.get("version")).toBe("2");
});

test("a model that is missing though it is listed is not asked for ever", async () => {
  void session.loadModels();
  await soon();
  last("/v1/models").answer(200, models("1"));
  await soon();
  add("a");
  await soon();
  last("/v1/predict").answer(404, problem("model_not_found"));
  await soon();
  last("/v1/models").answer(200, models("1"));
  await soon(60_000);
  expect(states()).toEqual(["failed"]);
  expect(predictions()).toHaveLength(1);
});
