import { expect, test } from "vitest";
import { type Action, MOST, reduce } from "../src/state.js";
import { failure } from "../src/words.js";
import { after, model, PREDICTION, sources } from "./parts.js";

const FAILURE = failure(new Error("the wires are down"));
const MODELS: Action = { type: "models", models: [model("a", "1"), model("b", "2", true)] };

function ids(state: ReturnType<typeof after>): number[] {
  return state.items.map(({ id }) => id);
}

test("newer pictures stand before older ones, those of one time in their own order", () => {
  const state = after(
    { type: "added", items: sources(1, 2) },
    { type: "added", items: sources(3, 4) },
  );
  expect(ids(state)).toEqual([3, 4, 1, 2]);
  expect(state.items.every(({ status }) => status === "busy")).toBe(true);
});

test("what is too much is left out and counted, until something is removed", () => {
  const all = sources(...Array(MOST + 2).keys());
  const full = after({ type: "added", items: all });
  expect([full.items.length, full.leftOut]).toEqual([MOST, 2]);
  const more = reduce(full, { type: "added", items: sources(900) });
  expect([more.items.length, more.leftOut]).toEqual([MOST, 1]);
  const removed = reduce(more, { type: "removed", id: 0 });
  expect([removed.items.length, removed.leftOut]).toEqual([MOST - 1, 0]);
  expect(reduce(removed, { type: "added", items: sources(900) }).leftOut).toBe(0);
});

test("an answer belongs to its picture, and leaves the others as they are", () => {
  const before = after({ type: "added", items: sources(1, 2) });
  const state = reduce(before, { type: "answered", id: 2, prediction: PREDICTION });
  expect(state.items.map(({ status }) => status)).toEqual(["busy", "done"]);
  expect(state.items[0]).toBe(before.items[0]);
  expect(state.items[1]?.prediction).toBe(PREDICTION);
});

test("what is said of a removed picture brings it not back", () => {
  const state = after(
    { type: "added", items: sources(1, 2) },
    { type: "removed", id: 1 },
    { type: "answered", id: 1, prediction: PREDICTION },
  );
  expect(ids(state)).toEqual([2]);
});

test("a picture that is asked about again keeps its answer until the next", () => {
  const answered: Action = { type: "answered", id: 1, prediction: PREDICTION };
  const again = after(MODELS, { type: "added", items: sources(1) }, answered, {
    type: "asked",
    id: 1,
  });
  expect(again.items[0]).toMatchObject({ status: "busy", prediction: PREDICTION });
  const failed = reduce(again, { type: "failed", id: 1, failure: FAILURE });
  expect(failed.items[0]).toMatchObject({ status: "failed", prediction: null, failure: FAILURE });
  const retried = reduce(failed, { type: "asked", id: 1 });
  expect(retried.items[0]).toMatchObject({ status: "busy", failure: null });
});

test("a picture that waits for a busy server waits no more when it is answered or has failed", () => {
  const waiting = after(
    { type: "added", items: sources(1) },
    { type: "waiting", id: 1, waiting: true },
  );
  expect(waiting.items[0]?.waiting).toBe(true);
  for (const end of [
    { type: "answered", id: 1, prediction: PREDICTION },
    { type: "failed", id: 1, failure: FAILURE },
    { type: "asked", id: 1 },
  ] as const) {
    expect(reduce(waiting, end).items[0]?.waiting).toBe(false);
  }
});

test("the default model is asked until another is chosen, and that as long as it is there", () => {
  const state = after(MODELS);
  expect(state.model).toEqual({ name: "b", version: "2" });
  const chosen = reduce(state, { type: "chosen", model: { name: "a", version: "1" } });
  expect(reduce(chosen, MODELS).model).toEqual({ name: "a", version: "1" });
  const swapped: Action = { type: "models", models: [model("a", "2"), model("b", "2", true)] };
  expect(reduce(chosen, swapped).model).toEqual({ name: "b", version: "2" });
  expect(reduce(chosen, { type: "models", models: [] }).model).toBeNull();
});

test("a picture knows the model that it was asked about with", () => {
  const before = after(MODELS, { type: "added", items: sources(1) });
  const other = reduce(before, { type: "chosen", model: { name: "a", version: "1" } });
  expect(other.items[0]?.asked).toEqual({ name: "b", version: "2" });
  expect(reduce(other, { type: "asked", id: 1 }).items[0]?.asked).toEqual(other.model);
});

test("options change one by one", () => {
  const state = after(
    { type: "options", options: { alpha: 0.2 } },
    { type: "options", options: { level: "conv7", smooth: false } },
  );
  expect(state.options).toEqual({
    level: "conv7",
    alpha: 0.2,
    colormap: "ember",
    scale: "uniform",
    smooth: false,
  });
});

test("a server that tells its models has accepted the key, and still wants one", () => {
  const wanted = after({ type: "trouble", trouble: { kind: "key", known: false } });
  expect(wanted.keyed).toBe(true);
  const state = reduce(wanted, MODELS);
  expect([state.trouble, state.keyed]).toEqual([null, true]);
  expect(reduce(state, { type: "trouble", trouble: { kind: "gone" } }).keyed).toBe(true);
});

test("models do not hide that the server is gone", () => {
  const state = after({ type: "trouble", trouble: { kind: "gone" } }, MODELS);
  expect([state.trouble?.kind, state.keyed]).toEqual(["gone", false]);
});

test("all can be taken away", () => {
  const state = after({ type: "added", items: sources(...Array(40).keys()) }, { type: "cleared" });
  expect([state.items, state.leftOut]).toEqual([[], 0]);
});
