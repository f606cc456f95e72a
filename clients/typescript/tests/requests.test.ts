/** What is sent: headers, options, bodies; and which arguments are refused before. */
import { afterEach, expect, test, vi } from "vitest";
import manifest from "../package.json" with { type: "json" };
import { Client, InvalidArgumentError, type PredictOptions, VERSION } from "../src/index.js";
import { answer, answering, JPEG, PREDICTION } from "./support.js";

afterEach(() => vi.unstubAllGlobals());

const one = () => answering(Response.json(answer(PREDICTION)));

test("a lone picture is the body, and the options are the query", async () => {
  const { fetch, asked } = one();
  const client = new Client("http://x/base/", { fetch, apiKey: " key\n", timeoutMs: 20_000 });
  await client.predict(JPEG, {
    returnAttention: true,
    topK: 2,
    attentionFormat: "u8",
    model: "a b&c",
    version: "1",
  });
  const [request] = asked;
  const query = "return_attention=true&top_k=2&attention_format=u8&model=a+b%26c&version=1";
  expect(request?.url).toBe(`http://x/base/v1/predict?${query}`);
  expect(request?.init).toMatchObject({ method: "POST", redirect: "manual", cache: "no-store" });
  expect(request?.body).toEqual(JPEG);
  expect(Number(request?.headers.get("x-timeout-ms"))).toBeLessThanOrEqual(20_000);
  const headers = Object.fromEntries(request?.headers ?? []);
  expect(headers).toMatchObject({
    accept: "application/octet-stream, application/json;q=0.5",
    authorization: "Bearer key",
    "content-type": "image/jpeg",
    "user-agent": expect.stringMatching(/^attnvgg-typescript\/\d+\.\d+\.\d+ \(Node \d/),
    "x-request-id": expect.stringMatching(/^[0-9a-f]{32}$/),
    "x-timeout-ms": expect.stringMatching(/^\d{2,5}$/),
  });
});

test("what is not given is the default, and no key is no header", async () => {
  const { fetch, asked } = one();
  await new Client("http://x", { fetch }).predict(JPEG);
  const query = "return_attention=false&top_k=5&attention_format=f16";
  expect(asked[0]?.url).toBe(`http://x/v1/predict?${query}`);
  expect(asked[0]?.headers.has("authorization")).toBe(false);
});

test("several pictures are parts of one body, without their names", async () => {
  const png = Uint8Array.from([137, 80, 78, 71, 13, 10, 26, 10, 0, 255]);
  const { fetch, asked } = answering(Response.json(answer(PREDICTION, PREDICTION)));
  const file = new File([png], "private-name.jpg", { type: "image/jpeg" });
  await new Client("http://x", { fetch }).predictBatch([JPEG, file]);
  const [request] = asked;
  const type = request?.headers.get("content-type") ?? "";
  const form = await new Response(request?.body, { headers: { "Content-Type": type } }).formData();
  const parts = form.getAll("images");
  const blobs = parts.filter((part) => part instanceof File);
  expect(blobs.map(({ name, type: kind }) => [name, kind])).toEqual([
    ["0", "image/jpeg"],
    ["1", "image/png"],
  ]);
  expect(new Uint8Array((await blobs[1]?.arrayBuffer()) ?? new ArrayBuffer())).toEqual(png);
  expect(new Uint8Array((await blobs[0]?.arrayBuffer()) ?? new ArrayBuffer())).toEqual(JPEG);
});

const wrong: [object, RegExp][] = [
  [{ topK: 0 }, /topK is 0; it must be 1 or more/],
  [{ topK: 1.5 }, /topK is 1.5/],
  [{ topK: "3" }, /topK is 3/],
  [{ attentionFormat: "f64" }, /attentionFormat is f64; it must be one of f16, f32, u8/],
  [{ model: "" }, /model is ""; it must be a name/],
  [{ version: 1 }, /version is 1; it must be a name/],
  [{ timeoutMs: 0 }, /timeoutMs is 0; it must be a positive number/],
  [{ timeoutMs: Number.NaN }, /timeoutMs is NaN/],
  [{ timeoutMs: Number.POSITIVE_INFINITY }, /timeoutMs is Infinity/],
];

test.each<[PredictOptions, RegExp]>(wrong)("%o is refused", async (options, message) => {
  const { fetch, asked } = one();
  const client = new Client("http://x", { fetch });
  for (const call of [client.predict(JPEG, options), client.predictBatch([JPEG], options)]) {
    await expect(call).rejects.toThrow(InvalidArgumentError);
    await expect(call).rejects.toThrow(message);
  }
  expect(() => client.predictMany([JPEG], options)).toThrow(message);
  expect(asked).toEqual([]);
});

test.each([
  ["ftp://x", /url is ftp:\/\/x; it must be like http:\/\/127.0.0.1:3000/],
  ["nonsense", /url is nonsense/],
  ["http://x/?a=b", /url is/],
  ["http://x/#a", /url is/],
  ["http://user:secret@x", /^url holds a user or password(?!.*secret)/],
])("the url %s is refused", (url, message) => {
  expect(() => new Client(url)).toThrow(InvalidArgumentError);
  expect(() => new Client(url)).toThrow(message);
});

test("wrong retries and keys are refused", () => {
  expect(() => new Client("http://x", { maxRetries: -1 })).toThrow(/maxRetries is -1/);
  expect(() => new Client("http://x", { maxRetries: 0.5 })).toThrow(/maxRetries is 0.5/);
  expect(() => new Client("http://x", { timeoutMs: -1 })).toThrow(/timeoutMs is -1/);
  expect(() => new Client("http://x", { apiKey: "a b" })).toThrow(/apiKey has characters/);
});

test("in Node the environment says where the server is", async () => {
  expect(new Client().url).toBe("http://127.0.0.1:3000");
  vi.stubEnv("ATTNVGG_URL", "https://example.org/attn/");
  vi.stubEnv("ATTNVGG_API_KEY", "from-the-environment");
  const { fetch, asked } = one();
  const client = new Client(undefined, { fetch });
  vi.unstubAllEnvs();
  expect(client.url).toBe("https://example.org/attn");
  await client.predict(JPEG);
  expect(asked[0]?.headers.get("authorization")).toBe("Bearer from-the-environment");
});

test.each([
  ["https://example.org/attn/index.html?x=1#y", undefined, "https://example.org/attn"],
  ["https://example.org/", undefined, "https://example.org"],
  ["https://example.org/a/b", "../api/", "https://example.org/api"],
  ["https://example.org/a/b", "http://127.0.0.1:3000", "http://127.0.0.1:3000"],
])("on the page %s, %s is %s", (baseURI, url, expected) => {
  vi.stubEnv("ATTNVGG_URL", "https://not.asked");
  vi.stubGlobal("document", { baseURI });
  expect(new Client(url).url).toBe(expected);
  vi.unstubAllEnvs();
});

test("a browser is not told what to call itself, and the page's fetch is called bare", async () => {
  vi.stubGlobal("process", undefined);
  const { fetch, asked } = one();
  vi.stubGlobal("fetch", function (this: unknown, ...args: Parameters<typeof fetch>) {
    expect(this === undefined || this === globalThis).toBe(true);
    return fetch(...args);
  });
  await new Client("http://x").predict(JPEG);
  expect(asked[0]?.headers.has("user-agent")).toBe(false);
});

test("the version is the package's", () => {
  expect(VERSION).toBe(manifest.version);
});
