import type { Colormap, Scale } from "attnvgg-client";

/** How maps are drawn, for all pictures of the page alike. `alpha` is from 0 to 1. */
export interface LookOptions {
  readonly level: string;
  readonly alpha: number;
  readonly colormap: Colormap;
  readonly scale: Scale;
  readonly smooth: boolean;
}
