/** What the server says about a picture. */

/** One label with its probability; `index` is its place among the model's labels. */
export interface Score {
  readonly label: string;
  readonly index: number;
  readonly probability: number;
}

/** What answered. `sha256`: of the graph file that ran. `provider`: what it ran on. */
export interface Model {
  readonly name: string;
  readonly version: string;
  readonly sha256: string;
  readonly provider: string;
}

/**
 * The picture as the server saw it: its size in pixels after EXIF orientation, and `box`
 * (x0, y0, x1, y1) in its pixels, the part that the network was shown.
 */
export interface Input {
  readonly width: number;
  readonly height: number;
  readonly box: readonly [x0: number, y0: number, x1: number, y1: number];
}

/**
 * One attention map, `[h, w]`, row by row, as computed: a map of softmax or sparsemax sums to 1
 * (within 1e-3 in the format f16).
 */
export interface AttentionMap {
  readonly shape: readonly [h: number, w: number];
  readonly data: Float32Array;
}

/**
 * One picture's prediction.
 *
 * `attention`: level to map, in the model's order with `fused` last; null if it was not asked for,
 * empty if the network has no attention. `timingsMs`: decode, queue, inference, total, at the
 * server. `requestId`: the id under which the server's log knows the request.
 */
export interface Prediction {
  readonly label: string;
  readonly index: number;
  readonly probability: number;
  readonly topK: readonly Score[];
  readonly attention: Readonly<Record<string, AttentionMap>> | null;
  readonly model: Model;
  readonly timingsMs: Readonly<Record<string, number>>;
  readonly input: Input;
  readonly requestId: string;
}

/**
 * One model that the server has. `default`: it answers where a request names no model. `levels`:
 * the maps in its answers, in their order, with `fused` where there is one.
 */
export interface ModelInfo extends Model {
  readonly default: boolean;
  readonly labels: readonly string[];
  readonly levels: readonly string[];
}

/** Whether the server would answer; `detail` says why not. */
export interface Health {
  readonly ready: boolean;
  readonly detail: string;
}
