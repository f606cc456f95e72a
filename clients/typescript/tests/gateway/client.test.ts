/** The client against the real gateway: the same answers as the Python SDK's. */
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { describe, expect, inject, test } from "vitest";
import {
  type AttentionMap,
  AuthenticationError,
  Client,
  DeadlineError,
  InvalidRequestError,
  ItemError,
  NotFoundError,
  PictureRejectedError,
  type Prediction,
  ServerDeadlineError,
} from "../../src/index.js";
import { statusError } from "../../src/statuses.js";

const { url, key, photos, golden, errors } = inject("real");
const client = new Client(url, { apiKey: key });
const [photo = ""] = photos;

function bytes(map: AttentionMap | undefined): string {
  return Buffer.from(map?.data.buffer ?? new ArrayBuffer()).toString("base64");
}

const labelOf = (item: Prediction | ItemError) =>
  item instanceof ItemError ? item.code : item.label;

describe.each(golden)("$format $photo", (expected) => {
  test("is what the Python SDK says", async () => {
    const attentionFormat = expected.format;
    const found = await client.predict(expected.photo, { returnAttention: true, attentionFormat });
    expect([found.label, found.index]).toEqual([expected.label, expected.index]);
    expect(found.model).toEqual(expected.model);
    expect(found.input).toEqual(expected.input);
    expect(found.topK.map(({ label }) => label)).toEqual(expected.topK.map(({ label }) => label));
    found.topK.forEach(({ probability }, place) => {
      expect(Math.abs(probability - (expected.topK[place]?.probability ?? 9))).toBeLessThan(1e-6);
    });
    expect(Object.keys(found.attention ?? {})).toEqual(Object.keys(expected.attention));
    for (const [level, { shape, data }] of Object.entries(expected.attention)) {
      expect(found.attention?.[level]?.shape).toEqual(shape);
      expect(bytes(found.attention?.[level])).toBe(data);
    }
  });
});

test("every code has the class that it has in Python", () => {
  const details = { status: 418 };
  for (const [code, name] of Object.entries(errors)) {
    expect(statusError("why", { ...details, code })).toMatchObject({ code, name });
  }
});

test("every kind of picture gives the same answer", async () => {
  const data = await readFile(photo);
  const around = new Uint8Array(data.byteLength + 20);
  around.set(data, 7);
  const { label, probability } = await client.predict(photo);
  for (const picture of [
    pathToFileURL(photo),
    pathToFileURL(photo).href,
    data,
    new Uint8Array(data).buffer,
    new DataView(around.buffer, 7, data.byteLength),
    new Blob([data]),
    new File([data], "x.txt", { type: "text/plain" }),
    `data:image/jpeg;base64,${data.toString("base64")}`,
    URL.createObjectURL(new Blob([data])),
  ]) {
    expect(await client.predict(picture)).toMatchObject({ label, probability });
  }
});

test("maps are left out unless asked for", async () => {
  const prediction = await client.predict(photo, { topK: 2 });
  expect(prediction.attention).toBeNull();
  expect(prediction.topK).toHaveLength(2);
  expect(Object.keys(prediction.timingsMs).sort()).toEqual([
    "decode",
    "inference",
    "queue",
    "total",
  ]);
  expect(prediction.requestId).toMatch(/^[0-9a-f]{32}$/);
});

test("models and health", async () => {
  await client.waitUntilReady();
  expect(await client.health()).toEqual({ ready: true, detail: "" });
  const model = (await client.models()).find((each) => each.default);
  expect(model).toMatchObject({ name: "cifar10-wide", version: "1" });
  expect(model?.levels).toEqual(["conv4", "conv6", "conv8", "fused"]);
  expect(model?.labels).toHaveLength(10);
});

test("a batch holds an error in the place of each bad picture", async () => {
  const broken = (await readFile(photo)).subarray(0, 400);
  const pictures = [photo, broken, new Blob(["text"]), ...photos];
  const found = await client.predictBatch(pictures);
  expect(found).toHaveLength(pictures.length);
  expect(found[1]).toMatchObject({
    index: 1,
    code: "invalid_image",
    requestId: expect.stringMatching(/./),
  });
  expect(found[2]).toMatchObject({ index: 2, code: "unsupported_media_type", requestId: null });
  const rest = found.filter((item) => !(item instanceof ItemError));
  expect(rest).toHaveLength(pictures.length - 2);
});

test("a batch of nothing but bad pictures", async () => {
  const broken = (await readFile(photo)).subarray(0, 400);
  const found = await client.predictBatch([broken, broken, broken]);
  expect(found).toMatchObject([0, 1, 2].map((index) => ({ index, code: "invalid_image" })));
});

test("many come in order, more than one request's worth", async () => {
  const labels = (await client.predictBatch(photos)).map(labelOf);
  const pictures = Array.from({ length: 45 }, (_, i) => photos[i % photos.length] ?? "");
  const found: string[] = [];
  const progress: number[] = [];
  const onProgress = (done: number) => progress.push(done);
  for await (const item of client.predictMany(pictures, { onProgress, concurrency: 3 })) {
    found.push(labelOf(item));
  }
  expect(found).toEqual(pictures.map((_, i) => labels[i % labels.length]));
  expect(progress).toEqual(pictures.map((_, i) => i + 1));
});

test("errors have the server's code, status and request id", async () => {
  const broken = (await readFile(photo)).subarray(0, 400);
  const refused = await client.predict(broken).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(PictureRejectedError);
  expect(refused).toMatchObject({
    status: 400,
    code: "invalid_image",
    requestId: expect.stringMatching(/./),
  });
  await expect(client.predict(photo, { model: "none" })).rejects.toThrow(NotFoundError);
  await expect(client.predict(photo, { topK: 1e15 })).rejects.toThrow(InvalidRequestError);
  await expect(new Client(url).predict(photo)).rejects.toThrow(AuthenticationError);
  await expect(new Client(`${url}/nowhere`, { apiKey: key }).models()).rejects.toThrow(
    NotFoundError,
  );
});

test("the server hears of the deadline", async () => {
  const late = await client.predict(photo, { timeoutMs: 1e-3 }).catch((error: unknown) => error);
  expect(late).toBeInstanceOf(DeadlineError);
  const told = new Client(url, {
    apiKey: key,
    fetch: (input, init) => {
      const headers = new Headers(init?.headers);
      expect(Number(headers.get("X-Timeout-Ms"))).toBeGreaterThan(50_000);
      headers.set("X-Timeout-Ms", "1");
      return fetch(input, { ...init, headers });
    },
  });
  const refused = await told.predictBatch(photos).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(ServerDeadlineError);
  expect(refused).toBeInstanceOf(DeadlineError);
});
