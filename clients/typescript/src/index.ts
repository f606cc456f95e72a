/**
 * Asks an attnvgg server what a picture shows and where the network looked.
 *
 *     const client = new Client("http://127.0.0.1:3000");
 *     const prediction = await client.predict(file, { returnAttention: true });
 */

export { Client } from "./client.js";
export { COLORMAPS, type Colormap, colorTable } from "./colors.js";
export type { ClientOptions } from "./config.js";
export {
  APIConnectionError,
  APIStatusError,
  AttnVGGError,
  AuthenticationError,
  DeadlineError,
  InvalidArgumentError,
  InvalidPictureError,
  InvalidRequestError,
  ItemError,
  NotFoundError,
  OverloadedError,
  PermissionDeniedError,
  PictureRejectedError,
  ProtocolError,
  RateLimitedError,
  ServerDeadlineError,
  ServerError,
  type StatusDetails,
  UnavailableError,
} from "./errors.js";
export type { PictureLike } from "./load.js";
export type {
  AttentionFormat,
  CallOptions,
  PredictManyOptions,
  PredictOptions,
} from "./options.js";
export { type DrawablePicture, defaultLevel, type OverlayOptions, overlay } from "./overlay.js";
export {
  type DyeOptions,
  dye,
  type Painted,
  type PaintOptions,
  paint,
  SCALES,
  type Scale,
  type Shaded,
  type ShadeOptions,
  shade,
  strengths,
  timesUniform,
} from "./paint.js";
export type {
  AttentionMap,
  Health,
  Input,
  Model,
  ModelInfo,
  Prediction,
  Score,
} from "./prediction.js";
export type { Pictures } from "./reader.js";
export { VERSION } from "./version.js";
