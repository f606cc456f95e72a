/** Answers, right, wrong and hostile, through the client. */
import { expect, test } from "vitest";
import { Client, ItemError, type Prediction, ProtocolError, ServerError } from "../src/index.js";
import { answer, answering, binary, failure, JPEG, PREDICTION, rejection } from "./support.js";

function ask(...answers: Parameters<typeof answering>): Promise<Prediction> {
  const { fetch } = answering(...answers);
  return new Client("http://x", { fetch, maxRetries: 0 }).predict(JPEG, { returnAttention: true });
}

const mapOf = ({ attention }: Prediction, name: string) => attention?.[name]?.data;
const floats = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
const map = (size: number, shape = [1, 2]) => ({
  shape,
  datatype: "FP32",
  parameters: { binary_data_size: size },
});

test("a binary answer", async () => {
  const attention = { conv10: map(8), conv7: map(4, [1, 1]) };
  const answered = binary(answer({ ...PREDICTION, attention }), floats(1, 2), floats(3));
  const found = await ask(answered);
  expect({ ...found, attention: null }).toEqual({
    label: "cat",
    index: 3,
    probability: 0.75,
    topK: [{ label: "cat", index: 3, probability: 0.75 }],
    attention: null,
    model: { name: "tiny", version: "1", sha256: "ab", provider: "cpu" },
    timingsMs: { decode: 1, queue: 2, inference: 3, total: 6 },
    input: { width: 20, height: 10, box: [5, 0, 15, 10] },
    requestId: "id-of-the-server",
  });
  expect(Object.entries(found.attention ?? {})).toEqual([
    ["conv10", { shape: [1, 2], data: Float32Array.of(1, 2) }],
    ["conv7", { shape: [1, 1], data: Float32Array.of(3) }],
  ]);
});

test("an answer of JSON alone, as of a proxy that asks for it", async () => {
  const data = Buffer.from(Uint8Array.of(255, 51)).toString("base64");
  const attention = { fused: { shape: [2, 1], datatype: "UINT8", scale: 2, data } };
  const found = await ask(Response.json(answer({ ...PREDICTION, attention })));
  expect(mapOf(found, "fused")).toEqual(Float32Array.of(510, 102));
});

test("what is not known is ignored", async () => {
  const news = { ...PREDICTION, descriptor: [1], top_k: [{ ...PREDICTION.top_k[0], new: {} }] };
  const found = await ask(Response.json({ ...answer(news), more: null }));
  expect(found.label).toBe("cat");
  expect(found.attention).toBeNull();
});

test("levels with the names of Object's own fields are levels, and others are absent", async () => {
  const level = JSON.stringify(map(8));
  const levels = `{"__proto__": ${level}, "constructor": ${level}}`;
  const json = JSON.stringify(answer({ ...PREDICTION, attention: 0 }));
  const text = json.replace('"attention":0', `"attention":${levels}`);
  const found = await ask(binary(text, floats(1, 2), floats(3, 4)));
  expect(Object.keys(found.attention ?? {})).toEqual(["__proto__", "constructor"]);
  expect(mapOf(found, "__proto__")).toEqual(Float32Array.of(1, 2));
  expect(found.attention).not.toHaveProperty("toString");
  expect(Object.prototype).not.toHaveProperty("shape");
  expect({}).not.toHaveProperty("shape");
});

const maps = (attention: unknown) => answer({ ...PREDICTION, attention });
const without = (name: string) => ({ ...answer(PREDICTION), [name]: undefined });

test.each<[string, Response, RegExp]>([
  ["no JSON", new Response("<html>Welcome"), /no JSON; it starts with "<html>Welcome"/],
  ["bytes that are no text", new Response(Buffer.from('{"a":"\xff"}', "latin1")), /no JSON/],
  ["nothing", new Response(""), /no JSON; it starts with ""/],
  ["a list", Response.json([]), /the answer is a list, not an object/],
  ["null", Response.json(null), /the answer is null, not an object/],
  ["no predictions", Response.json(without("predictions")), /predictions is missing/],
  ["too few", Response.json(answer()), /has 0 predictions for 1 pictures/],
  ["too many", Response.json(answer(PREDICTION, PREDICTION)), /has 2 predictions for 1/],
  ["predictions of null", Response.json(answer(null)), /predictions\[0\] is null, not an object/],
  [
    "no label",
    Response.json(answer({ ...PREDICTION, label: 3 })),
    /label is the number 3, not a s/,
  ],
  ["no model", Response.json(without("model")), /model is missing/],
  [
    "half an index",
    Response.json(answer({ ...PREDICTION, index: 1.5 })),
    /index is the number 1.5/,
  ],
  ["no request id", Response.json(without("request_id")), /request_id is missing/],
  [
    "an endless probability",
    new Response(JSON.stringify(answer(PREDICTION)).replaceAll("0.75", "1e999")),
    /probability is the number Infinity, not a finite number/,
  ],
  [
    "a box beyond the picture",
    Response.json(answer({ ...PREDICTION, input: { width: 9, height: 9, box: [0, 0, 10, 9] } })),
    /the box is no part of 9 x 9 pixels/,
  ],
  [
    "a box of three numbers",
    Response.json(answer({ ...PREDICTION, input: { width: 9, height: 9, box: [0, 0, 9] } })),
    /the box is no part/,
  ],
  ["a tensor cut off", binary(maps({ a: map(8) }), floats(1)), /cut off: a tensor of 8 bytes at 0/],
  ["a tensor too much", binary(maps({ a: map(8) }), floats(1, 2, 3)), /4 bytes that belong to no/],
  ["a negative size", binary(maps({ a: map(-8) }), floats(1, 2)), /cut off: a tensor of -8 bytes/],
  ["a huge size", binary(maps({ a: map(2 ** 52) }), floats(1, 2)), /cut off/],
  ["another shape", binary(maps({ a: map(8, [1, 3]) }), floats(1, 2)), /came with 8 bytes/],
  [
    "no bytes for a map",
    binary(maps({ a: { shape: [1, 1], datatype: "FP32" } })),
    /parameters is m/,
  ],
  ["a level named by a number", binary(maps({ 7: map(8) }), floats(1, 2)), /a number for a name/],
  [
    "no base64",
    Response.json(maps({ a: { shape: [1, 1], datatype: "UINT8", scale: 1, data: "%%" } })),
    /attention map a is no base64/,
  ],
  [
    "binary without its header",
    new Response("{}", { headers: { "Content-Type": "application/octet-stream" } }),
    /has no header Inference-Header-Content-Length/,
  ],
  ...["-1", "1e3", "99999", "0x10", "x"].map((length): [string, Response, RegExp] => [
    `a length of ${length}`,
    new Response("{}", { headers: { "Inference-Header-Content-Length": length } }),
    new RegExp(`Inference-Header-Content-Length is "${length}", of an answer of 2 bytes`),
  ]),
])("%s is a ProtocolError", async (_, answered, message) => {
  const error = await rejection(ask(answered));
  expect(error).toBeInstanceOf(ProtocolError);
  expect(error).toHaveProperty("message", expect.stringMatching(message));
  expect(error).toHaveProperty("requestId", expect.stringMatching(/^[0-9a-f]{32}$/));
});

test("an error in the place of a lone picture is thrown", async () => {
  const error = await rejection(ask(Response.json(answer(failure("invalid_image", "broken")))));
  const said = { name: "PictureRejectedError", code: "invalid_image", message: "broken" };
  expect(error).toMatchObject({ ...said, requestId: "id-of-the-server" });
});

test.each<[string, Response, string]>([
  ["HTML", new Response("<h1>Bad\n gateway</h1>", { status: 500 }), '"<h1>Bad gateway</h1>"'],
  ["nothing", new Response(null, { status: 500 }), "the server gave no reason"],
  ["a list", Response.json([1], { status: 500 }), 'the server answered "[1]"'],
  ["Triton's", Response.json({ error: "no" }, { status: 500 }), "the server answered"],
])("an error page that is %s", async (_, answered, message) => {
  const error = await rejection(ask(answered));
  expect(error).toBeInstanceOf(ServerError);
  expect(error).toMatchObject({ code: "http_500", message: expect.stringContaining(message) });
});

test("models, of a server that says more", async () => {
  const model = { name: "a", version: "1", sha256: "b", provider: "cpu", default: true };
  const described = { ...model, labels: ["x"], attention: ["fused"], input: {}, levels: [] };
  const { fetch, asked } = answering(Response.json({ models: [described] }));
  const found = await new Client("http://x", { fetch }).models();
  expect(found).toEqual([{ ...model, labels: ["x"], levels: ["fused"] }]);
  expect(asked[0]?.url).toBe("http://x/v1/models");
});

test("an item's error among several", async () => {
  const items = [PREDICTION, failure("invalid_image", "broken")];
  const { fetch } = answering(Response.json(answer(...items)));
  const found = await new Client("http://x", { fetch }).predictBatch([JPEG, JPEG]);
  expect(found[1]).toEqual(new ItemError("invalid_image", "broken", 1, "id-of-the-server"));
});
