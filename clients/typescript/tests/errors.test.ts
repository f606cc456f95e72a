/** The tree of errors: names, parents, and what each status and code becomes. */
import { inspect } from "node:util";
import { expect, test } from "vitest";
import * as sdk from "../src/index.js";
import { statusError, worthRetrying } from "../src/statuses.js";

const { APIStatusError, AttnVGGError, Client, DeadlineError, ItemError } = sdk;

const TREE: [keyof typeof sdk, ...(keyof typeof sdk)[]][] = [
  ["InvalidArgumentError", "AttnVGGError"],
  ["InvalidPictureError", "AttnVGGError", "InvalidArgumentError"],
  ["APIConnectionError", "AttnVGGError"],
  ["DeadlineError", "AttnVGGError"],
  ["ProtocolError", "AttnVGGError"],
  ["APIStatusError", "AttnVGGError"],
  ["InvalidRequestError", "AttnVGGError", "APIStatusError"],
  ["PictureRejectedError", "AttnVGGError", "APIStatusError"],
  ["AuthenticationError", "AttnVGGError", "APIStatusError"],
  ["PermissionDeniedError", "AttnVGGError", "APIStatusError"],
  ["NotFoundError", "AttnVGGError", "APIStatusError"],
  ["RateLimitedError", "AttnVGGError", "APIStatusError"],
  ["OverloadedError", "AttnVGGError", "APIStatusError"],
  ["UnavailableError", "AttnVGGError", "APIStatusError"],
  ["ServerDeadlineError", "AttnVGGError", "APIStatusError", "DeadlineError"],
  ["ServerError", "AttnVGGError", "APIStatusError"],
];

function errorClass(name: keyof typeof sdk) {
  const kind: unknown = new Map<string, unknown>(Object.entries(sdk)).get(name);
  if (typeof kind === "function" && (kind === AttnVGGError || kind.prototype instanceof Error)) {
    return kind;
  }
  throw new Error(`${name} is no class of errors`);
}

test.each(TREE)("%s", (name, ...parents) => {
  const error: unknown = Reflect.construct(errorClass(name), ["why", { status: 500, code: "x" }]);
  const ancestors = TREE.map(([other]) => other).filter((k) => error instanceof errorClass(k));
  expect(ancestors.sort()).toEqual([name, ...parents.slice(1)].sort());
  expect(error).toBeInstanceOf(AttnVGGError);
  expect(error).toMatchObject({ name, message: "why" });
  expect(error instanceof Error && error.stack).toMatch(`${name}: why`);
  expect(Object.keys(error instanceof Error ? error : {})).not.toContain("name");
});

test("a ServerDeadlineError is caught as either, and nothing else is a DeadlineError", () => {
  const error = statusError("late", { status: 504, code: "deadline_exceeded" });
  expect(error).toBeInstanceOf(sdk.ServerDeadlineError);
  expect(error).toBeInstanceOf(DeadlineError);
  class Mine extends DeadlineError {}
  expect(error).not.toBeInstanceOf(Mine);
  expect(new Mine("x")).toBeInstanceOf(DeadlineError);
  for (const other of [null, undefined, "x", {}, new Error("x")]) {
    expect(other instanceof DeadlineError).toBe(false);
  }
});

test.each([
  [400, "invalid_request", "InvalidRequestError"],
  [400, "too_many_images", "InvalidRequestError"],
  [400, "invalid_image", "PictureRejectedError"],
  [413, "image_too_large", "PictureRejectedError"],
  [413, "body_too_large", "PictureRejectedError"],
  [415, "unsupported_media_type", "PictureRejectedError"],
  [401, "unauthorized", "AuthenticationError"],
  [403, "forbidden", "PermissionDeniedError"],
  [404, "model_not_found", "NotFoundError"],
  [404, "not_found", "NotFoundError"],
  [429, "rate_limited", "RateLimitedError"],
  [503, "overloaded", "OverloadedError"],
  [503, "engine_unavailable", "UnavailableError"],
  [504, "deadline_exceeded", "ServerDeadlineError"],
  [500, "internal", "ServerError"],
  [400, null, "InvalidRequestError"],
  [404, null, "NotFoundError"],
  [502, null, "UnavailableError"],
  [504, null, "UnavailableError"],
  [418, null, "ServerError"],
  [503, "constructor", "UnavailableError"],
])("%i %s is a %s", (status, code, name) => {
  const error = statusError("why", { status, code });
  expect(error).toMatchObject({ name, status, code: code ?? `http_${status}` });
  expect([error.requestId, error.retryAfterMs]).toEqual([null, null]);
});

test.each([
  [429, "rate_limited", true],
  [503, "overloaded", true],
  [503, null, true],
  [502, null, true],
  [504, null, true],
  [504, "deadline_exceeded", false],
  [502, "internal", false],
  [500, "internal", false],
  [400, "invalid_image", false],
])("%i %s may be tried again: %s", (status, code, again) => {
  expect(worthRetrying(statusError("why", { status, code }))).toBe(again);
});

test("the text of a status error says all", () => {
  const details = { status: 503, code: "overloaded", requestId: "abc" };
  const error = new sdk.OverloadedError("busy", details);
  expect(String(error)).toBe("OverloadedError: busy (503 overloaded, request abc)");
  expect(String(new APIStatusError("x", { status: 500, code: "y" }))).toMatch(/x \(500 y\)$/);
});

test("an ItemError is a value", () => {
  const error = new ItemError("invalid_image", "broken", 3);
  expect(error).not.toBeInstanceOf(Error);
  const fields = { code: "invalid_image", message: "broken", index: 3, requestId: null };
  expect({ ...error }).toEqual(fields);
});

test("nothing shows the key", async () => {
  const apiKey = "a-very-secret-key";
  const client = new Client("http://127.0.0.1:9", { apiKey, maxRetries: 0 });
  const error = await client.health().catch((problem: unknown) => problem);
  for (const thing of [client, error]) {
    const options = { depth: 20, showHidden: true, getters: true };
    expect(inspect(thing, options) + JSON.stringify(thing) + String(thing)).not.toContain(apiKey);
  }
  expect(() => new Client("http://x", { apiKey: "secret\u00e9" })).toThrow(/^(?!.*secret)/);
});
