/** One picture with its attention map, thumbnails of the maps, and what their colours mean. */

import "./look.css";

export { Legend } from "./Legend.js";
export { Look, type LookProps } from "./Look.js";
export type { LookOptions } from "./options.js";
export { Thumbnail } from "./Thumbnail.js";
