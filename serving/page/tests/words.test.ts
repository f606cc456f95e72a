import {
  APIConnectionError,
  type APIStatusError,
  AuthenticationError,
  DeadlineError,
  InvalidArgumentError,
  InvalidPictureError,
  NotFoundError,
  OverloadedError,
  PermissionDeniedError,
  PictureRejectedError,
  ProtocolError,
  RateLimitedError,
  ServerDeadlineError,
  ServerError,
  UnavailableError,
} from "attnvgg-client";
import { expect, test } from "vitest";
import { canRetry, duration, failure, percent, quote, said, seen, sentence } from "../src/words.js";

type Status = new (
  message: string,
  details: { status: number; code: string; requestId: string },
) => APIStatusError;

function refused(kind: Status, code: string): APIStatusError {
  return new kind("the server says so", { status: 400, code, requestId: "r7" });
}

test.each([
  [refused(PictureRejectedError, "invalid_image"), "picture", false, "invalid_image, request r7"],
  [
    new InvalidPictureError("a text", "unsupported_media_type"),
    "picture",
    false,
    "unsupported_media_type",
  ],
  [refused(RateLimitedError, "rate_limited"), "busy", true, "rate_limited, request r7"],
  [refused(OverloadedError, "overloaded"), "busy", true, "overloaded, request r7"],
  [refused(UnavailableError, "engine_unavailable"), "busy", true, "engine_unavailable, request r7"],
  [
    refused(ServerDeadlineError, "deadline_exceeded"),
    "busy",
    true,
    "deadline_exceeded, request r7",
  ],
  [new DeadlineError("too slow", "r8"), "busy", true, "request r8"],
  [new APIConnectionError("refused", "r9"), "gone", true, "request r9"],
  [refused(AuthenticationError, "unauthorized"), "key", false, "unauthorized, request r7"],
  [new InvalidArgumentError("a key has no spaces"), "key", false, ""],
  [refused(PermissionDeniedError, "forbidden"), "other", true, "forbidden, request r7"],
  [refused(NotFoundError, "model_not_found"), "model", true, "model_not_found, request r7"],
  [new ProtocolError("what?", "r3"), "other", true, "request r3"],
  [refused(ServerError, "internal"), "other", true, "internal, request r7"],
  [new TypeError("undefined is no function"), "other", true, ""],
])("%s is %s", (error, kind, retry, quoted) => {
  const found = failure(error);
  expect(found.kind).toBe(kind);
  expect(canRetry(found)).toBe(retry);
  expect(quote(found)).toBe(quoted);
});

test("busy, gone and a bad picture are told apart in words", () => {
  expect(failure(refused(OverloadedError, "overloaded")).title).toContain("busy");
  expect(failure(refused(RateLimitedError, "rate_limited")).title).toContain("busy");
  expect(failure(refused(UnavailableError, "engine_unavailable")).title).toContain("busy");
  const gone = failure(new APIConnectionError("fetch failed"));
  expect(gone.title).toBe("The server cannot be reached");
  expect(gone.message).toMatch(/^No answer came/);
  expect(failure(refused(PictureRejectedError, "invalid_image"))).toMatchObject({
    title: "This picture cannot be used",
    message: "The server says so.",
  });
});

test("a file that is not sent is told of without its name, which stands above", () => {
  const text = new InvalidPictureError('the file "a.txt": text', "unsupported_media_type");
  expect(failure(text).message).toBe(
    "This is no picture that the server takes: JPEG, PNG or WebP.",
  );
  const gone = new InvalidPictureError("the file cannot be read", "unreadable");
  expect(failure(gone).message).toBe("The file cannot be read.");
});

test("what is no error is told too", () => {
  expect(failure("odd").message).toBe("Odd.");
});

test("sentences", () => {
  expect(sentence("the picture is empty")).toBe("The picture is empty.");
  expect(sentence("Really? ")).toBe("Really?");
});

test("shares and times", () => {
  expect([0, 0.12345, 1].map(percent)).toEqual(["0.0 %", "12.3 %", "100.0 %"]);
  expect([0.018, 3.1234, 99.96, 120.4, 2400].map(duration)).toEqual([
    "0.02 ms",
    "3.1 ms",
    "100.0 ms",
    "120 ms",
    "2.4 s",
  ]);
});

test("the part that the network saw", () => {
  expect(seen({ width: 320, height: 200, box: [0, 0, 320, 200] })).toBe("all of it");
  expect(seen({ width: 200, height: 320, box: [0, 60, 200, 260] })).toBe(
    "200 × 200, from 0 px on the left and 60 px at the top",
  );
  expect(seen({ width: 320, height: 200, box: [60, 0, 260, 200] })).toBe(
    "200 × 200, from 60 px on the left and 0 px at the top",
  );
});

test("few results are read out one by one, many by their number", () => {
  const cat = { name: "a.jpg", outcome: "cat, 97.7 %", ok: true };
  const bad = { name: "b.jpg", outcome: "This picture cannot be used", ok: false };
  expect(said([cat, bad])).toBe("a.jpg: cat, 97.7 %. b.jpg: This picture cannot be used.");
  expect(said([cat, cat, cat, bad])).toBe("3 pictures answered, 1 failed.");
  expect(said([cat, cat, cat, cat])).toBe("4 pictures answered.");
});
