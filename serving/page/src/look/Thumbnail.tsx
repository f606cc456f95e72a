import { type AttentionMap, paint } from "attnvgg-client";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { LookOptions } from "./options.js";

/** What a {@link Thumbnail} shows. */
export interface ThumbnailProps {
  map: AttentionMap;
  options: LookOptions;
  selected: boolean;
}

/** One map, small, cell by cell. */
export function Thumbnail({ map, options, selected }: ThumbnailProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { colormap, scale } = options;
  const [height, width] = map.shape;
  useLayoutEffect(() => {
    const { data } = paint(map, width, height, { alpha: 1, colormap, scale, smooth: false });
    canvas.current?.getContext("2d")?.putImageData(new ImageData(data, width, height), 0, 0);
  }, [map, width, height, colormap, scale]);
  const kind = selected ? "thumbnail selected" : "thumbnail";
  // biome-ignore lint/a11y/noAriaHiddenOnFocusable: a canvas without tabindex takes no focus
  return <canvas ref={canvas} class={kind} width={width} height={height} aria-hidden="true" />;
}
