import { readFileSync } from "node:fs";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { InvalidArgumentError, InvalidPictureError } from "../src/errors.js";
import { type DrawablePicture, defaultLevel, overlay } from "../src/overlay.js";
import { paint } from "../src/paint.js";
import type { AttentionMap, Prediction } from "../src/prediction.js";

interface Golden {
  picture: [number, number];
  box: [number, number, number, number];
  drawn: [number, number, number, number];
}

/** Written by tests/overlay_goldens.py: which pixels the Python SDK draws on. */
const { boxes }: { boxes: Golden[] } = JSON.parse(
  readFileSync(new URL("overlay.golden.json", import.meta.url), "utf8"),
);
const map: AttentionMap = { shape: [1, 2], data: Float32Array.of(0.25, 0.75) };
const other: AttentionMap = { shape: [1, 2], data: Float32Array.of(0.5, 0.5) };

/** A canvas that only notes what is drawn on it: Node has none, and pixels are the browser's. */
class Canvas {
  readonly drawn: unknown[][] = [];
  constructor(
    readonly width: number,
    readonly height: number,
  ) {}
  getContext() {
    return {
      drawImage: (picture: unknown, ...drawn: unknown[]) => {
        if (picture instanceof Pixels) throw new TypeError("ImageData cannot be drawn");
        this.drawn.push([picture, ...drawn]);
      },
      putImageData: (pixels: unknown, ...drawn: unknown[]) => {
        if (!(pixels instanceof Pixels)) throw new TypeError("not ImageData");
        this.drawn.push([pixels, ...drawn]);
      },
    };
  }
}

class Pixels {
  constructor(
    readonly data: Uint8ClampedArray,
    readonly width: number,
    readonly height: number,
  ) {}
}

beforeEach(() => {
  vi.stubGlobal("OffscreenCanvas", Canvas);
  vi.stubGlobal("ImageData", Pixels);
});

describe("over the picture", () => {
  test.each(boxes)("$picture, $box: the pixels that the Python SDK draws on", (golden) => {
    const { picture, box, drawn } = golden;
    const [below, above] = layers(predicted({ conv7: map }, picture, box));
    expect(below).toEqual([expect.objectContaining({ width: picture[0] }), 0, 0]);
    const [layer, x, y] = above ?? [];
    const size = layer instanceof Canvas ? [layer.width, layer.height] : [];
    expect([x, y, ...size]).toEqual([drawn[0], drawn[1], drawn[2] - drawn[0], drawn[3] - drawn[1]]);
  });

  test("lies the map that was asked for, as it was asked for", () => {
    const options = { alpha: 0.3, colormap: "tide", scale: "minmax", smooth: false } as const;
    const prediction = predicted({ conv7: map, fused: other });
    expect(painted(prediction)).toEqual(paint(other, 4, 2).data);
    const expected = paint(map, 4, 2, options).data;
    expect(painted(prediction, { level: "conv7", ...options })).toEqual(expected);
  });

  test("which may be ImageData", () => {
    const picture = new Pixels(new Uint8ClampedArray(32), 4, 2);
    expect(drawnOn(overlay(like(picture), predicted({ map })))[0]).toEqual([picture, 0, 0]);
  });
});

test("the level to show is the fused one, else the last", () => {
  expect(defaultLevel(predicted({ fused: map, conv7: map }))).toBe("fused");
  expect(defaultLevel(predicted({ conv7: map, conv10: map }))).toBe("conv10");
  expect([defaultLevel(predicted({})), defaultLevel(predicted(null))]).toEqual([null, null]);
});

describe("what cannot be drawn", () => {
  test.each([
    [predicted(null), undefined, "no attention maps: ask with returnAttention: true"],
    [predicted({}), undefined, 'the model "tiny" has no attention levels'],
    [predicted({ conv7: map, fused: map }), "conv9", 'level is "conv9"; this prediction has conv7'],
    [predicted({ conv7: map }), "toString", 'level is "toString"'],
  ])("says why: %#", (prediction, level, message) => {
    const draw = () => overlay(like(new Canvas(4, 2)), prediction, level ? { level } : {});
    expect(draw).toThrow(InvalidArgumentError);
    expect(draw).toThrow(message);
  });

  test("a picture of another size", () => {
    const draw = () => overlay(like(new Canvas(2, 4)), predicted({ conv7: map }));
    expect(draw).toThrow(InvalidPictureError);
    expect(draw).toThrow("2 x 4 pixels, the prediction was made for one of 4 x 2");
    const image = { naturalWidth: 4, naturalHeight: 2, width: 40, height: 20 };
    expect(() => overlay(like(image), predicted({ conv7: map }))).not.toThrow();
  });

  test("anything, where there is no canvas", () => {
    vi.stubGlobal("OffscreenCanvas", undefined);
    const draw = () => overlay(like(new Canvas(4, 2)), predicted({ conv7: map }));
    expect(draw).toThrow("overlay needs a canvas, which browsers have; paint works without");
  });
});

function predicted(
  attention: Prediction["attention"],
  [width, height]: readonly [number, number] = [4, 2],
  box: Golden["box"] = [0, 0, 4, 2],
): Prediction {
  const model = { name: "tiny", version: "1", sha256: "", provider: "cpu" };
  const label = { label: "cat", index: 0, probability: 1 };
  const input = { width, height, box };
  return { ...label, topK: [label], attention, model, timingsMs: {}, input, requestId: "" };
}

/** What stands in for a picture here: overlay asks for its size and hands it on. */
function like(picture: object): DrawablePicture {
  return picture as DrawablePicture;
}

function layers(prediction: Prediction, options: Parameters<typeof overlay>[2] = {}): unknown[][] {
  const { width, height } = prediction.input;
  return drawnOn(overlay(like(new Canvas(width, height)), prediction, options));
}

function drawnOn(canvas: object): unknown[][] {
  return canvas instanceof Canvas ? canvas.drawn : [];
}

/** The pixels of the map that was laid over the picture. */
function painted(...asked: Parameters<typeof layers>): unknown {
  const layer = layers(...asked)[1]?.[0];
  const pixels = layer instanceof Canvas ? layer.drawn[0]?.[0] : undefined;
  return pixels instanceof Pixels ? pixels.data : undefined;
}
