/** Everything that can be a picture, and what is said of things that cannot. */
import { execFileSync } from "node:child_process";
import files, { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import {
  Client,
  DeadlineError,
  InvalidArgumentError,
  InvalidPictureError,
  type PictureLike,
} from "../src/index.js";
import { answer, answering, JPEG, PREDICTION, rejection, serving } from "./support.js";

afterEach(() => vi.unstubAllGlobals());

const PNG = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10, 1, 2);
const WEBP = new TextEncoder().encode("RIFF\x01\x02\x03\x04WEBPVP8 ");
const folder = await mkdtemp(join(tmpdir(), "attnvgg-"));
const path = join(folder, "a photo #1?.txt");
await writeFile(path, JPEG);
afterAll(() => rm(folder, { recursive: true }));

/** What was sent for a picture. */
async function sent(picture: PictureLike): Promise<{ type: string | null; data: Uint8Array }> {
  const { fetch, asked } = answering(Response.json(answer(PREDICTION)));
  await new Client("http://server", { fetch }).predict(picture);
  expect(asked).toHaveLength(1);
  return { type: asked[0]?.headers.get("content-type") ?? null, data: asked[0]?.body ?? JPEG };
}

/** The error for what must not be sent. */
async function refused(picture: unknown): Promise<InvalidPictureError> {
  const { fetch, asked } = answering(new Error("asked"));
  const call: unknown = Reflect.apply(Client.prototype.predict, new Client("http://x", { fetch }), [
    picture,
  ]);
  const error = await rejection(Promise.resolve(call));
  expect(asked).toEqual([]);
  expect(error).toBeInstanceOf(InvalidPictureError);
  expect(error).toBeInstanceOf(InvalidArgumentError);
  if (error instanceof InvalidPictureError) return error;
  throw error;
}

test.each([
  ["image/jpeg", JPEG],
  ["image/png", PNG],
  ["image/webp", WEBP],
])("%s is known by its first bytes, whatever it is called", async (type, data) => {
  const lying = new File([data], "x.gif", { type: "image/gif" });
  expect(await sent(lying)).toEqual({ type, data });
});

const around = Uint8Array.of(9, 9, ...JPEG, 9, 9, 9, 9);
test.each<[string, PictureLike]>([
  ["a Blob", new Blob([JPEG])],
  ["an ArrayBuffer", JPEG.slice().buffer],
  ["a view's own part", around.subarray(2, 10)],
  ["a view of another kind", new Uint16Array(around.buffer, 2, 4)],
  ["a DataView", new DataView(around.buffer, 2, 8)],
  ["Node's Buffer, of a shared pool", Buffer.from(JPEG)],
  ["shared memory", shared()],
  ["a path", path],
  ["a file: URL", pathToFileURL(path)],
  ["the text of one", pathToFileURL(path).href],
  ["a data: URL", new URL(`data:image/gif;base64,${Buffer.from(JPEG).toString("base64")}`)],
  ["a data: URL without base64", `data:,${[...JPEG].map(percent).join("")}`],
])("%s travels untouched", async (_, picture) => {
  expect(await sent(picture)).toEqual({ type: "image/jpeg", data: JPEG });
});

function percent(byte: number): string {
  return byte < 128
    ? `%${byte.toString(16).padStart(2, "0")}`
    : `%c${byte >> 6}%${((byte & 63) | 128).toString(16)}`;
}

function shared(): Uint8Array {
  const memory = new Uint8Array(new SharedArrayBuffer(JPEG.length));
  memory.set(JPEG);
  return memory;
}

test("the caller may write into their memory once the call is made", async () => {
  const mine = JPEG.slice();
  const { fetch, asked } = answering(new Error("broken"), Response.json(answer(PREDICTION)));
  const call = new Client("http://x", { fetch }).predict(mine);
  mine.fill(0);
  await call;
  expect(asked[1]?.body).toEqual(JPEG);
});

describe("addresses", () => {
  test("are fetched without our key, our ids or anything else of ours", async () => {
    const { fetch, asked } = answering(new Response(PNG), Response.json(answer(PREDICTION)));
    const client = new Client("http://server", { fetch, apiKey: "secret" });
    await client.predict(new URL("https://elsewhere.org/photo?sig=1"));
    const [there, here] = asked;
    expect(there?.url).toBe("https://elsewhere.org/photo?sig=1");
    expect([...(there?.headers.keys() ?? [])]).toEqual(["accept"]);
    expect(there?.init).toMatchObject({ method: "GET", redirect: "follow" });
    expect(here?.body).toEqual(PNG);
    expect(here?.headers.get("authorization")).toBe("Bearer secret");
  });

  test("may be relative on a page", async () => {
    vi.stubGlobal("document", { baseURI: "https://page.org/a/b.html" });
    const { fetch, asked } = answering(new Response(PNG), Response.json(answer(PREDICTION)));
    await new Client(undefined, { fetch }).predict("samples/cat.jpg");
    expect(asked[0]?.url).toBe("https://page.org/a/samples/cat.jpg");
  });

  test.each<[string, Response | Error, RegExp]>([
    ["a page", new Response("<html>"), /^https:\/\/x.org\/p: an HTML or XML page; accepted/],
    [
      "an error",
      new Response("", { status: 404 }),
      /^https:\/\/x.org\/p: the answer has status 404/,
    ],
    ["nobody", new TypeError("fetch failed", { cause: new Error("ENOTFOUND") }), /p: ENOTFOUND$/],
  ])("that lead to %s", async (_, answered, message) => {
    const { fetch, asked } = answering(answered);
    const error = await rejection(
      new Client("http://x", { fetch }).predict("https://x.org/p?sig=1"),
    );
    expect(error).toBeInstanceOf(InvalidPictureError);
    expect(error).toHaveProperty("message", expect.stringMatching(message));
    expect(asked).toHaveLength(1);
  });

  test("are bounded in size and time", async () => {
    const url = await serving((request, response) => {
      response.writeHead(200);
      response.write(JPEG);
      if (request.url === "/slow") return;
      const block = Buffer.alloc(2 ** 22);
      const more = () => response.write(block, () => !response.destroyed && setImmediate(more));
      more();
    });
    const client = new Client("http://127.0.0.1:9", { timeoutMs: 20_000 });
    const huge = await rejection(client.predict(`${url}/huge`));
    expect(huge).toMatchObject({
      code: "unreadable",
      message: expect.stringMatching(/more than 67108864 bytes/),
    });
    const slow = await rejection(client.predict(`${url}/slow`, { timeoutMs: 200 }));
    expect(slow).toMatchObject({
      name: "InvalidPictureError",
      message: expect.stringMatching(/slow: not read in time/),
    });
  });
});

const ftyp = (brand: string) => new TextEncoder().encode(`\0\0\0\x20ftyp${brand}`);
test.each<[unknown, string, RegExp]>([
  [
    new Blob(["GIF89a"]),
    "unsupported_media_type",
    /^the Blob given: a GIF picture; accepted are J/,
  ],
  [new File(["%PDF-1.7"], "a.jpg"), "unsupported_media_type", /^the file "a.jpg": a PDF document/],
  [new TextEncoder().encode("BM1234"), "unsupported_media_type", /the bytes given: a BMP picture/],
  [ftyp("avif"), "unsupported_media_type", /AVIF/],
  [ftyp("heic"), "unsupported_media_type", /HEIC/],
  [ftyp("isom"), "unsupported_media_type", /MP4/],
  [new Blob(['  <svg xmlns="x">']), "unsupported_media_type", /SVG/],
  [new Blob(["<!doctype html>"]), "unsupported_media_type", /HTML/],
  [new Blob(["just words, \u00e9"]), "unsupported_media_type", /: text;/],
  [
    Uint8Array.of(0, 1, 254),
    "unsupported_media_type",
    /unknown kind \(it starts with the bytes 00 01 fe/,
  ],
  [new Blob([]), "invalid_image", /empty, 0 bytes/],
  [new ArrayBuffer(0), "invalid_image", /empty/],
  [new Uint8Array(64 * 2 ** 20 + 1), "image_too_large", /more than 67108864 bytes/],
  [null, "invalid_argument", /^null is no picture; accepted is a File, a Blob/],
  [undefined, "invalid_argument", /^undefined is no picture/],
  [42, "invalid_argument", /^42 is no picture/],
  [{}, "invalid_argument", /^the Object given is no picture/],
  [Object.create(null), "invalid_argument", /^the object given is no picture/],
  [[JPEG], "invalid_argument", /^the Array given .* predictBatch and predictMany take lists$/],
  [
    "ftp://x.org/a.jpg",
    "invalid_argument",
    /URL of a kind not fetched; http, https, data and blob/,
  ],
  [new URL("javascript:alert(1)"), "invalid_argument", /of a kind not fetched/],
  ["data:image/png;base64,%%%", "unreadable", /the data: URL given cannot be decoded/],
  ["data:nothing", "unreadable", /the data: URL given cannot be decoded/],
  [join(folder, "missing.jpg"), "unreadable", /missing.jpg" cannot be read: ENOENT/],
  [folder, "unreadable", /it is a folder/],
  ["", "unreadable", /"" cannot be read/],
])("%s is refused before anything is sent", async (picture, code, message) => {
  const error = await refused(picture);
  expect(error.code).toBe(code);
  expect(error.message).toMatch(message);
});

test("a film on disk is not read to be refused, nor a large Blob, nor a pipe opened", async () => {
  const film = join(folder, "film.jpg");
  const data = new Uint8Array(600);
  data.set(ftyp("isom"));
  await writeFile(film, data);
  await truncate(film, 2 ** 27);
  expect((await refused(film)).message).toMatch(/film.jpg": an MP4 film/);
  await writeFile(film, JPEG);
  await truncate(film, 2 ** 27);
  expect((await refused(film)).code).toBe("image_too_large");
  const chosen = new Blob([data]);
  chosen.arrayBuffer = () => Promise.reject(new Error("read"));
  expect((await refused(chosen)).message).toMatch(/the Blob given: an MP4 film/);
  const large = new Blob([JPEG]);
  Object.defineProperty(large, "size", { value: 2 ** 27 });
  expect((await refused(large)).code).toBe("image_too_large");
  const pipe = join(folder, "pipe");
  execFileSync("mkfifo", [pipe]);
  expect((await refused(pipe)).message).toMatch(/it is no regular file/);
});

test("files are closed, whatever was in them", async () => {
  const opened: { fd: number }[] = [];
  const open = files.open;
  const spy = vi.spyOn(files, "open").mockImplementation(async (...args) => {
    const handle = await open(...args);
    opened.push(handle);
    return handle;
  });
  await sent(path);
  await refused(join(folder, "film.jpg"));
  spy.mockRestore();
  expect(opened.map(({ fd }) => fd)).toEqual([-1, -1]);
});

test("what cannot be read in time", async () => {
  const slow = new Blob([JPEG]);
  slow.slice = () => Object.assign(new Blob(), { arrayBuffer: () => new Promise(() => {}) });
  const { fetch, asked } = answering(new Error("asked"));
  const client = new Client("http://x", { fetch, timeoutMs: 30 });
  const error = await rejection(client.predict(slow));
  expect(error).toBeInstanceOf(DeadlineError);
  expect(error).toHaveProperty("message", "the Blob given was not read within 0.03 s");
  const [item] = await client.predictBatch([slow]);
  expect(item).toMatchObject({ code: "unreadable", index: 0 });
  expect(asked).toEqual([]);
});

test("a file that is gone since it was chosen", async () => {
  const gone = new File([JPEG], "gone.jpg");
  gone.slice = () => {
    throw new DOMException("it is gone", "NotReadableError");
  };
  const error = await refused(gone);
  expect(error).toMatchObject({ code: "unreadable", cause: expect.any(DOMException) });
  expect(error.message).toBe('the file "gone.jpg" cannot be read: it is gone');
});

test("without Node a file: URL says who could read it", async () => {
  vi.stubGlobal("process", undefined);
  expect((await refused("file:///photo.jpg")).message).toMatch(/which only Node .* can read/);
});
