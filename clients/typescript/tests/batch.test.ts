/** predictBatch, and what it shares with predictMany: how pictures are cut into requests. */
import { expect, test } from "vitest";
import { InvalidArgumentError, type PictureLike } from "../src/index.js";
import { collect, facing, labelOf, labels, picture, pictures, right } from "./several.js";
import { failure, JPEG, rejection } from "./support.js";

test("a batch is cut at 16 pictures", async () => {
  const { client, seen } = facing(right);
  const found = await client.predictBatch(pictures(37));
  expect(found.map(labelOf)).toEqual(labels(37));
  expect(seen.map((request) => request.labels.length)).toEqual([16, 16, 5]);
});

test("a batch is cut at 8 MB, and one larger picture goes alone", async () => {
  const { client, seen } = facing(right);
  const sizes = [3e6, 3e6, 3e6, 20e6, 10];
  const found = await client.predictBatch(sizes.map((size, i) => picture(i, size + 10)));
  expect(found.map(labelOf)).toEqual(labels(5));
  expect(seen.map((request) => request.labels)).toEqual([["0", "1"], ["2"], ["3"], ["4"]]);
});

test("nothing is asked about nothing", async () => {
  const { client, seen } = facing(right);
  expect(await client.predictBatch([])).toEqual([]);
  expect(await collect(client.predictMany(new Set<PictureLike>()))).toEqual([]);
  expect(seen).toEqual([]);
});

test("any kind of iterable will do", async () => {
  const { client } = facing(right);
  async function* slowly() {
    yield* pictures(3);
  }
  function* quickly() {
    yield* pictures(3);
  }
  for (const several of [new Set(pictures(3)), quickly(), slowly()]) {
    expect((await client.predictBatch(several)).map(labelOf)).toEqual(labels(3));
  }
  for (const several of [new Set(pictures(3)), quickly(), slowly()]) {
    expect(await collect(client.predictMany(several))).toEqual(labels(3));
  }
});

const lone: unknown[] = ["photo.jpg", JPEG, new Blob([JPEG]), JPEG.buffer, new URL("x:y"), null, 3];
test.each(lone)("the lone picture %s is refused at once", async (given) => {
  const { client } = facing(right);
  const wrong = /it must be a list or another iterable of pictures/;
  const batch: unknown = Reflect.apply(client.predictBatch, client, [given]);
  const error = await rejection(Promise.resolve(batch));
  expect(error).toBeInstanceOf(InvalidArgumentError);
  expect(error).toHaveProperty("message", expect.stringMatching(wrong));
  expect(() => Reflect.apply(client.predictMany, client, [given])).toThrow(wrong);
});

test("bad pictures are errors in their places, found here or there", async () => {
  const { client, seen } = facing(right);
  const mixed = [picture(0), new Blob(["text"]), picture("bad"), picture(3)];
  for (const found of [await client.predictBatch(mixed), await all(client.predictMany(mixed))]) {
    expect(found.map(labelOf)).toEqual(["0", "unsupported_media_type", "invalid_image", "3"]);
    expect(found[1]).toMatchObject({ index: 1, requestId: null });
    expect(found[2]).toMatchObject({ index: 2, requestId: "id-of-the-server" });
  }
  expect(seen.flatMap((request) => request.labels)).not.toContain("text");
});

async function all<T>(run: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of run) found.push(item);
  return found;
}

test("a request refused for one picture is halved until it is found", async () => {
  const { client } = facing((names) =>
    names.includes("bad5")
      ? Response.json(failure("invalid_image"), { status: 400 })
      : right(names),
  );
  const some = pictures(9);
  some[5] = picture("bad5");
  const found = await client.predictBatch(some);
  const expected = labels(9).with(5, "invalid_image");
  expect(found.map(labelOf)).toEqual(expected);
  expect(found[5]).toMatchObject({ index: 5 });
});

test.each([
  ["too_many_images", 400],
  ["body_too_large", 413],
])("a server with lower limits (%s) is asked too much only once", async (code, status) => {
  const { client, seen } = facing((names) =>
    names.length > 4 ? Response.json(failure(code), { status }) : right(names),
  );
  const found = await client.predictBatch(pictures(40));
  expect(found.map(labelOf)).toEqual(labels(40));
  const refused = seen.filter((request) => request.labels.length > 4);
  expect(refused.length).toBeLessThanOrEqual(3); // 16, and its two halves
});
