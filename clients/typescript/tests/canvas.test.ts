/** Canvases, bitmaps and pixels, with stand-ins for what a browser has; Chromium's own are in tests/e2e. */
import { afterEach, expect, test, vi } from "vitest";
import { Client, InvalidPictureError } from "../src/index.js";
import { answer, answering, PREDICTION, rejection } from "./support.js";

afterEach(() => vi.unstubAllGlobals());

const PNG = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10, 1, 2);
type Drawn = [method: string, thing: unknown, x: number, y: number];

/** Something that calls itself so, as the browser's classes do, of whatever window. */
function called<T extends object>(tag: string, fields: T): T {
  return Object.assign(fields, { [Symbol.toStringTag]: tag });
}

function context() {
  const drawn: Drawn[] = [];
  return {
    drawn,
    drawImage: (...args: [unknown, number, number]) => drawn.push(["drawImage", ...args]),
    putImageData: (...args: [unknown, number, number]) => drawn.push(["putImageData", ...args]),
  };
}

function element(width: number, height: number, blob: Blob | null = new Blob([PNG])) {
  const toBlob = (done: (blob: Blob | null) => void, type: string) => {
    expect(type).toBe("image/png");
    done(blob);
  };
  const drawing = context();
  return called("HTMLCanvasElement", { width, height, toBlob, getContext: () => drawing, drawing });
}

function offscreen(width: number, height: number) {
  const convertToBlob = async (options: { type: string }) => {
    expect(options).toEqual({ type: "image/png" });
    return new Blob([PNG]);
  };
  const drawing = context();
  const getContext = () => drawing;
  return called("OffscreenCanvas", { width, height, convertToBlob, getContext, drawing });
}

async function predict(picture: unknown) {
  const { fetch, asked } = answering(Response.json(answer(PREDICTION)));
  const client = new Client("http://x", { fetch });
  await Reflect.apply(client.predict, client, [picture]);
  const [request] = asked;
  return [request?.headers.get("content-type"), request?.body];
}

test("a canvas of either kind travels as PNG", async () => {
  expect(await predict(element(3, 2))).toEqual(["image/png", PNG]);
  expect(await predict(offscreen(3, 2))).toEqual(["image/png", PNG]);
});

test.each([
  ["ImageBitmap", "drawImage"],
  ["ImageData", "putImageData"],
])("an %s is drawn on a canvas of its size", async (tag, method) => {
  const pixels = called(tag, { width: 5, height: 4, data: new Uint8ClampedArray(80) });
  const made: ReturnType<typeof offscreen>[] = [];
  const construct = (_: object, [width = 0, height = 0]: number[]) => {
    const canvas = offscreen(width, height);
    made.push(canvas);
    return canvas;
  };
  vi.stubGlobal("OffscreenCanvas", new Proxy(Object, { construct }));
  expect(await predict(pixels)).toEqual(["image/png", PNG]);
  expect(made).toMatchObject([
    { width: 5, height: 4, drawing: { drawn: [[method, pixels, 0, 0]] } },
  ]);
  vi.stubGlobal("OffscreenCanvas", undefined);

  const page = element(0, 0);
  vi.stubGlobal("document", { baseURI: "http://x/", createElement: () => page });
  expect(await predict(pixels)).toEqual(["image/png", PNG]);
  expect(page).toMatchObject({ width: 5, height: 4, drawing: { drawn: [[method, pixels, 0, 0]] } });
});

const tainted = Object.assign(element(3, 3), {
  toBlob: () => {
    throw new DOMException("Tainted canvases may not be exported.", "SecurityError");
  },
});
test.each<[string, unknown, string, RegExp]>([
  [
    "another site's pixels",
    tainted,
    "unreadable",
    /^the HTMLCanvasElement given cannot .* Tainted/,
  ],
  ["no pixels", element(0, 5), "invalid_image", /^the HTMLCanvasElement given is 0 x 5 pixels$/],
  ["a closed bitmap", called("ImageBitmap", { width: 0, height: 0 }), "invalid_image", /0 x 0/],
  ["too much for an encoder", element(1e5, 1e5, null), "unreadable", /cannot be encoded/],
  [
    "no canvas",
    called("ImageData", { width: 1, height: 1 }),
    "invalid_argument",
    /^there is no canvas here to encode the ImageData with$/,
  ],
])("%s", async (_, picture, code, message) => {
  const error = await rejection(predict(picture));
  expect(error).toBeInstanceOf(InvalidPictureError);
  expect(error).toMatchObject({ code });
  expect(error).toHaveProperty("message", expect.stringMatching(message));
});
