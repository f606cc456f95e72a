// What the OpenAPI document says of /v1, as types; `npm run openapi` writes this file.
export interface paths {
    "/v1/predict": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Classify one picture or several, and say where the network looked. */
        post: operations["predict"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/models": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The models that are served. */
        get: operations["models"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Every model has run a real inference. */
        get: operations["readyz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * Answer
         * @description The answer of POST /v1/predict: one prediction a picture, in their order.
         */
        Answer: {
            model: components["schemas"]["ModelInfo"];
            /** Request Id */
            request_id: string;
            timings_ms: components["schemas"]["Timings"];
            /** Predictions */
            predictions: (components["schemas"]["Prediction"] | components["schemas"]["FailedPrediction"])[];
        };
        /**
         * AttentionMap
         * @description One map as computed, [h, w], row by row, little-endian; it sums to 1 (sigmoid excepted).
         */
        AttentionMap: {
            /** Shape */
            shape: [
                number,
                number
            ];
            /**
             * Datatype
             * @enum {string}
             */
            datatype: "FP16" | "FP32" | "UINT8";
            /**
             * Scale
             * @description UINT8 only: the value is data * scale
             * @default null
             */
            scale?: number | null;
            /**
             * Data
             * @description base64; absent in a binary answer
             * @default null
             */
            data?: string | null;
            /**
             * @description present in a binary answer only
             * @default null
             */
            parameters?: components["schemas"]["BinaryData"] | null;
        };
        /**
         * BinaryData
         * @description In a binary answer, how many bytes after the JSON are this tensor's.
         */
        BinaryData: {
            /** Binary Data Size */
            binary_data_size: number;
        };
        /**
         * FailedPrediction
         * @description In the place of a picture that failed while others succeeded.
         */
        FailedPrediction: {
            error: components["schemas"]["Problem"];
        };
        /**
         * Failure
         * @description Every 4xx and 5xx outside /v2.
         */
        Failure: {
            error: components["schemas"]["RequestProblem"];
        };
        /**
         * Input
         * @description The picture after EXIF orientation, and the part of it that the network saw.
         */
        Input: {
            /** Width */
            width: number;
            /** Height */
            height: number;
            /**
             * Box
             * @description x0, y0, x1, y1 in its pixels
             */
            box: [
                number,
                number,
                number,
                number
            ];
        };
        /**
         * JsonBody
         * @description The JSON body of POST /v1/predict.
         * @example {
         *       "images": [
         *         "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
         *       ]
         *     }
         */
        JsonBody: {
            /**
             * Images
             * @description JPEG, PNG or WebP files in base64
             */
            images: string[];
        };
        /**
         * Label
         * @description One of the model's labels with its probability.
         */
        Label: {
            /** Label */
            label: string;
            /** Index */
            index: number;
            /** Probability */
            probability: number;
        };
        /**
         * ModelDescription
         * @description One entry of GET /v1/models.
         */
        ModelDescription: {
            /** Name */
            name: string;
            /** Version */
            version: string;
            /**
             * Sha256
             * @description of the graph file that ran
             */
            sha256: string;
            /**
             * Provider
             * @description cpu, cuda or tensorrt
             */
            provider: string;
            /**
             * Default
             * @description answers where a request names no model and no version
             */
            default: boolean;
            /** Labels */
            labels: string[];
            input: components["schemas"]["ModelInput"];
            /** Levels */
            levels: components["schemas"]["ModelLevel"][];
            /**
             * Attention
             * @description the maps in an answer: levels and `fused`
             */
            attention: string[];
        };
        /**
         * ModelInfo
         * @description The model that answered.
         */
        ModelInfo: {
            /** Name */
            name: string;
            /** Version */
            version: string;
            /**
             * Sha256
             * @description of the graph file that ran
             */
            sha256: string;
            /**
             * Provider
             * @description cpu, cuda or tensorrt
             */
            provider: string;
        };
        /**
         * ModelInput
         * @description What the network takes; the gateway brings every picture to it.
         */
        ModelInput: {
            /** Width */
            width: number;
            /** Height */
            height: number;
            /** Geometry */
            geometry: string;
            /** Filter */
            filter: string;
        };
        /**
         * ModelLevel
         * @description One attention level.
         */
        ModelLevel: {
            /** Name */
            name: string;
            /**
             * Grid
             * @description h, w of its map
             */
            grid: [
                number,
                number
            ];
            /** Normalisation */
            normalisation: string;
        };
        /**
         * Models
         * @description The answer of GET /v1/models.
         */
        Models: {
            /** Models */
            models: components["schemas"]["ModelDescription"][];
        };
        /**
         * Prediction
         * @description What the model says about one picture, and where it looked.
         */
        Prediction: {
            /** Label */
            label: string;
            /** Index */
            index: number;
            /** Probability */
            probability: number;
            /** Top K */
            top_k: components["schemas"]["Label"][];
            input: components["schemas"]["Input"];
            /**
             * Attention
             * @description by level (and `fused`), if return_attention was true
             * @default null
             */
            attention?: {
                [key: string]: components["schemas"]["AttentionMap"];
            } | null;
        };
        /**
         * Problem
         * @description What went wrong with one picture.
         */
        Problem: {
            /** Code */
            code: string;
            /** Message */
            message: string;
        };
        /**
         * RequestProblem
         * @description What went wrong with the whole request.
         */
        RequestProblem: {
            /** Code */
            code: string;
            /** Message */
            message: string;
            /** Request Id */
            request_id: string;
        };
        /**
         * Timings
         * @description Where the time went. With several pictures, that of the slowest.
         */
        Timings: {
            /** Decode */
            decode: number;
            /** Queue */
            queue: number;
            /** Inference */
            inference: number;
            /** Total */
            total: number;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    predict: {
        parameters: {
            query?: {
                /** @description Send the attention maps. */
                return_attention?: boolean;
                /** @description How many labels to list. */
                top_k?: number;
                /** @description Precision of the maps. */
                attention_format?: "f16" | "f32" | "u8";
                /** @description Model to use; the default model if left out. */
                model?: string;
                /** @description Its version; the highest if left out. */
                version?: string;
            };
            header?: {
                /** @description Comes back in the answer. */
                "X-Request-ID"?: string;
                /** @description Give up then (504). */
                "X-Timeout-Ms"?: number;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "image/jpeg": string;
                "image/png": string;
                "image/webp": string;
                "multipart/form-data": {
                    [key: string]: string[];
                };
                "application/json": components["schemas"]["JsonBody"];
            };
        };
        responses: {
            /** @description One prediction (or error) a picture, in their order. With `Accept: application/octet-stream` the JSON is followed by the raw little-endian maps, in the order in which it names them. */
            200: {
                headers: {
                    "X-Request-ID"?: string;
                    /** @description Binary answers only: bytes of the JSON. */
                    "Inference-Header-Content-Length"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Answer"];
                    "application/octet-stream": string;
                };
            };
            /** @description invalid_image, invalid_request, too_many_images */
            400: {
                headers: {
                    "X-Request-ID"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Failure"];
                };
            };
            /** @description unauthorized */
            401: {
                headers: {
                    "X-Request-ID"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Failure"];
                };
            };
            /** @description model_not_found */
            404: {
                headers: {
                    "X-Request-ID"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Failure"];
                };
            };
            /** @description body_too_large, image_too_large */
            413: {
                headers: {
                    "X-Request-ID"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Failure"];
                };
            };
            /** @description unsupported_media_type */
            415: {
                headers: {
                    "X-Request-ID"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Failure"];
                };
            };
            /** @description rate_limited */
            429: {
                headers: {
                    "X-Request-ID"?: string;
                    /** @description seconds */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Failure"];
                };
            };
            /** @description internal */
            500: {
                headers: {
                    "X-Request-ID"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Failure"];
                };
            };
            /** @description engine_unavailable, overloaded */
            503: {
                headers: {
                    "X-Request-ID"?: string;
                    /** @description seconds */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Failure"];
                };
            };
            /** @description deadline_exceeded */
            504: {
                headers: {
                    "X-Request-ID"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Failure"];
                };
            };
        };
    };
    models: {
        parameters: {
            query?: never;
            header?: {
                /** @description Comes back in the answer. */
                "X-Request-ID"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description All of them. */
            200: {
                headers: {
                    "X-Request-ID"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Models"];
                };
            };
            /** @description unauthorized */
            401: {
                headers: {
                    "X-Request-ID"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Failure"];
                };
            };
            /** @description rate_limited */
            429: {
                headers: {
                    "X-Request-ID"?: string;
                    /** @description seconds */
                    "Retry-After"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Failure"];
                };
            };
            /** @description internal */
            500: {
                headers: {
                    "X-Request-ID"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Failure"];
                };
            };
        };
    };
    readyz: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Yes. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description Not ready, or no more. */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
        };
    };
}
