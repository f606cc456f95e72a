import { expect, test, vi } from "vitest";
import {
  add,
  answer,
  last,
  predictions,
  problem,
  session,
  soon,
  states,
  store,
} from "./session.js";

test("a picture is asked about with its maps, exact", async () => {
  add("a.jpg");
  await soon();
  expect(Object.fromEntries(last("/v1/predict").query)).toMatchObject({
    return_attention: "true",
    attention_format: "f32",
  });
  last("/v1/predict").answer(200, answer());
  await soon();
  expect(states()).toEqual(["done"]);
});

test("four are asked about at a time; what is removed is aborted and makes room", async () => {
  add("1", "2", "3", "4", "5", "6");
  await soon();
  expect(predictions()).toHaveLength(4);
  const [first] = predictions();
  session.remove(store.state.items[0]?.id ?? 0);
  await soon();
  expect(first?.signal?.aborted).toBe(true);
  expect(predictions()).toHaveLength(5);
  expect(states()).toEqual(Array(5).fill("busy"));
  session.clear();
  await soon();
  expect(predictions().every(({ signal }) => signal?.aborted)).toBe(true);
  expect(predictions()).toHaveLength(5);
  expect(states()).toEqual([]);
});

test("a picture is kept no larger than it is shown, and its memory is given back", async () => {
  const made: { width: number; height: number; close: () => void }[] = [];
  vi.stubGlobal("createImageBitmap", async (_: unknown, size?: ImageBitmapOptions) => {
    const { resizeWidth = 6000, resizeHeight = 3000 } = size ?? {};
    const bitmap = { width: resizeWidth, height: resizeHeight, close: vi.fn() };
    made.push(bitmap);
    return bitmap;
  });
  add("a", "b");
  await soon();
  const kept = store.state.items[0]?.picture;
  expect([kept?.width, kept?.height]).toEqual([1400, 700]);
  const closed = () => made.map(({ close }) => vi.mocked(close).mock.calls.length);
  expect([closed().length, closed().filter(Boolean).length]).toEqual([4, 2]);
  expect(kept?.close).not.toHaveBeenCalled();
  session.remove(store.state.items[0]?.id ?? 0);
  await soon();
  expect(kept?.close).toHaveBeenCalledOnce();
  expect(store.state.items[0]?.picture?.close).not.toHaveBeenCalled();
  session.clear();
  await soon();
  expect(closed()).toEqual([1, 1, 1, 1]);
});

test("a picture that is removed while it is decoded is closed, too", async () => {
  const close = vi.fn();
  let decoded = (_: unknown) => {};
  vi.stubGlobal("createImageBitmap", () => new Promise((resolve) => (decoded = resolve)));
  add("a");
  await soon();
  session.clear();
  decoded({ width: 10, height: 10, close });
  await soon();
  expect(close).toHaveBeenCalledOnce();
});

test("one bad picture fails alone, and is not asked about again", async () => {
  add("bad", "good");
  await soon();
  const [bad, good] = predictions();
  bad?.answer(400, problem("invalid_image"));
  good?.answer(200, answer());
  await soon(60_000);
  expect(states()).toEqual(["failed", "done"]);
  expect([predictions().length, store.state.trouble]).toEqual([2, null]);
});
