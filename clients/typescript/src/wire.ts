/** The types of the OpenAPI document under short names: what requests and answers are checked with. */

import type { components, operations } from "./_openapi.js";

/** The schemas by name. */
export type Wire = components["schemas"];

/** The query parameters of POST /v1/predict. */
export type PredictQuery = NonNullable<operations["predict"]["parameters"]["query"]>;

/** The bodies that POST /v1/predict takes. */
export type BodyType = keyof operations["predict"]["requestBody"]["content"];

/** The headers of POST /v1/predict that have a name in the document. */
export type RequestHeader = keyof NonNullable<operations["predict"]["parameters"]["header"]>;

/** The headers of its answer. */
export type AnswerHeader = Extract<
  keyof RemoveIndex<operations["predict"]["responses"][200]["headers"]>,
  string
>;

type RemoveIndex<T> = { [K in keyof T as string extends K ? never : K]: T[K] };
