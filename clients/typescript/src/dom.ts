/** Types of browsers, for declarations that also compile where there are none of them. */

/** The instances of a global class; `never` in a program that is compiled without the DOM's types. */
type Global<Name extends string> =
  typeof globalThis extends Record<Name, { prototype: infer T }> ? T : never;

/** A canvas of a page, or one without a page. */
export type Canvas = Global<"HTMLCanvasElement"> | Global<"OffscreenCanvas">;

/** A decoded picture. */
export type Bitmap = Global<"ImageBitmap">;

/** Pixels in memory: RGBA, row by row. */
export type PixelData = Global<"ImageData">;

/** An `<img>`. */
export type ImageElement = Global<"HTMLImageElement">;
