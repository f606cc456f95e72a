import type { AttentionMap, Prediction } from "attnvgg-client";

/** A prediction with these maps, of a picture of 40 x 20 of which the middle was seen. */
export function prediction(attention: Record<string, AttentionMap> | null): Prediction {
  return {
    label: "cat",
    index: 0,
    probability: 0.5,
    topK: [],
    attention,
    model: { name: "tiny", version: "1", sha256: "", provider: "cpu" },
    timingsMs: {},
    input: { width: 40, height: 20, box: [10, 0, 30, 20] },
    requestId: "",
  };
}
