import { defaultLevel, type Prediction } from "attnvgg-client";

/** The level to show: the chosen one if the prediction has it, else its default; "" without maps. */
export function effectiveLevel(prediction: Prediction, chosen: string): string {
  const levels = Object.keys(prediction.attention ?? {});
  return levels.includes(chosen) ? chosen : (defaultLevel(prediction) ?? "");
}
