import { useLayoutEffect, useRef } from "preact/hooks";
import { effectiveLevel } from "./level.js";
import { Look, type LookOptions } from "./look/index.js";
import type { Item } from "./state.js";

/** The picture, with its map as soon as there is one. */
export function Stage({ item, options }: { item: Item; options: LookOptions }) {
  const { picture, prediction, source } = item;
  const level = prediction ? effectiveLevel(prediction, options.level) : "";
  const { width, height } = prediction?.input ?? picture ?? { width: 3, height: 2 };
  return (
    <div class="stage" style={{ "--aspect": String(width / height) }}>
      {prediction && level ? (
        <Look
          picture={picture}
          prediction={prediction}
          options={{ ...options, level }}
          name={source.file.name}
        />
      ) : (
        picture && <Bare picture={picture} name={source.file.name} />
      )}
    </div>
  );
}

/** The picture alone: while the answer is awaited, and where there is no map. */
function Bare({ picture, name }: { picture: ImageBitmap; name: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    canvas.current?.getContext("2d")?.drawImage(picture, 0, 0);
  }, [picture]);
  const { width, height } = picture;
  return (
    <div class="look-frame">
      <canvas
        ref={canvas}
        class="bare"
        width={width}
        height={height}
        role="img"
        aria-label={name}
      />
      <p class="readout" />
    </div>
  );
}
