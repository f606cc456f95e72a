import type { Input, Prediction } from "attnvgg-client";
import type { RefObject } from "preact";
import { useId, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { type Level, levelOf } from "./cells.js";
import { useCursor } from "./cursor.js";
import type { LookOptions } from "./options.js";
import { boxOn, coloured, draw, ground, outline, type Size, shades } from "./scene.js";
import { useDeviceWidth } from "./size.js";
import { ofCell, ofLook, ofPeak } from "./words.js";

/** What a {@link Look} shows. `picture`: upright; null if the browser cannot decode it. */
export interface LookProps {
  picture: ImageBitmap | HTMLCanvasElement | null;
  prediction: Prediction;
  options: LookOptions;
  name: string;
}

// Screen readers hand the arrow keys on to an application only.
const MAP = { role: "application", "aria-roledescription": "attention map" } as const;
const USEFUL = 384; // CSS pixels: the cells of a map over a picture of 32 x 32 must be told apart

/** One picture with its attention map, and the weight under the pointer or the cell cursor. */
export function Look({ picture, prediction, options, name }: LookProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const hint = useId();
  const { input } = prediction;
  const level = useMemo(() => levelOf(prediction, options.level), [prediction, options.level]);
  const { place, live, handlers } = useCursor(level, input);
  const size = useSize(canvas, input);
  const below = useGround(picture, input, size);
  const above = useLayer(level, input, size, options);

  useLayoutEffect(() => {
    if (!canvas.current || !below) return;
    draw(canvas.current, below, above);
    if (above && level && place && place !== "outside") {
      outline(canvas.current, above.box, level.map.shape, place);
    }
  }, [below, above, level, place]);

  return (
    <div class="look-frame">
      <div class="look-picture">
        <canvas
          {...handlers}
          ref={canvas}
          class="look"
          style={shape(input)}
          tabIndex={0}
          {...(level ? { ...MAP, "aria-describedby": hint } : { role: "img" })}
          aria-label={ofLook(name, picture !== null, level, input)}
          data-cell={place !== null}
        />
        <p class="look-hint" id={hint}>
          Arrow keys go from cell to cell, Home goes to the peak, Escape leaves.
        </p>
      </div>
      <p class="readout" aria-live={live ? "polite" : "off"}>
        {said()}
      </p>
      {picture ? null : (
        <p class="look-note">This browser cannot show {name}: only the map is drawn.</p>
      )}
    </div>
  );

  function said(): string {
    if (!level) return `${prediction.model.name} has no attention maps`;
    if (place === "outside") return "The network did not see this part of the picture";
    return place ? ofCell(level, place) : ofPeak(level);
  }
}

function useSize(canvas: RefObject<HTMLElement | null>, input: Input): Size | null {
  const width = useDeviceWidth(canvas);
  return useMemo(() => {
    const height = Math.max(1, Math.round((width * input.height) / input.width));
    return width ? { width, height } : null;
  }, [width, input]);
}

function useGround(picture: LookProps["picture"], input: Input, size: Size | null) {
  return useMemo(() => size && ground(picture, input, size), [picture, input, size]);
}

/** In two steps: a slider that moves changes only the colours. */
function useLayer(level: Level | null, input: Input, size: Size | null, options: LookOptions) {
  const { alpha, colormap, scale, smooth } = options;
  const shaded = useMemo(() => {
    if (!size || !level) return null;
    const box = boxOn(size, input);
    return { box, smooth, cells: shades(level.map, box, { scale, smooth }) };
  }, [level, input, size, scale, smooth]);
  return useMemo(
    () => shaded && { ...shaded, canvas: coloured(shaded.cells, { alpha, colormap }) },
    [shaded, alpha, colormap],
  );
}

/** For look.css: the ratio of the sides, and the width that the picture has by itself. */
function shape({ width, height }: Input) {
  const enlarged = Math.max(1, USEFUL / Math.max(width, height));
  return {
    aspectRatio: `${width} / ${height}`,
    "--aspect": String(width / height),
    "--own": `${Math.round(width * enlarged)}px`,
  };
}
