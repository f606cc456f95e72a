import { type Colormap, colorTable } from "attnvgg-client";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { LookOptions } from "./options.js";

const MARKS = [0, 1, 4, 16, 64];
const SHADES = 256;

/** What the colours of the maps mean. */
export function Legend({ options }: { options: LookOptions }) {
  return (
    <figure class="legend">
      <Ramp colormap={options.colormap} />
      {options.scale === "uniform" ? <Uniform /> : <MinMax />}
    </figure>
  );
}

function Ramp({ colormap }: { colormap: Colormap }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const image = new ImageData(SHADES, 1);
    const table = colorTable(colormap);
    for (let shade = 0; shade < SHADES; shade++) {
      image.data.set([...table.subarray(3 * shade, 3 * shade + 3), 255], 4 * shade);
    }
    canvas.current?.getContext("2d")?.putImageData(image, 0, 0);
  }, [colormap]);
  // biome-ignore lint/a11y/noAriaHiddenOnFocusable: a canvas without tabindex takes no focus
  return <canvas ref={canvas} class="ramp" width={SHADES} height={1} aria-hidden="true" />;
}

function Uniform() {
  return (
    <>
      <div class="marks" aria-hidden="true">
        {MARKS.map((times) => (
          <span key={times} style={{ left: `${(100 * times) / (times + 4)}%` }}>
            {times}
          </span>
        ))}
      </div>
      <figcaption>
        Times uniform: 1 is a look that is even everywhere. Pictures and levels can be compared.
      </figcaption>
    </>
  );
}

function MinMax() {
  return (
    <>
      <div class="marks ends" aria-hidden="true">
        <span>least</span>
        <span>most</span>
      </div>
      <figcaption>
        Each map from its least to its most attention: maps cannot be compared.
      </figcaption>
    </>
  );
}
