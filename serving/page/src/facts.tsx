import type { Prediction, Score } from "attnvgg-client";
import type { Item } from "./state.js";
import { duration, percent, seen } from "./words.js";

/** The most probable labels, each with a bar. */
export function Top({ scores }: { scores: readonly Score[] }) {
  return (
    <ol class="top">
      {scores.map(({ label, index, probability }) => (
        <li key={index}>
          <span>{label}</span> <span class="share">{percent(probability)}</span>
          <div class="track">
            <div style={{ width: `${100 * probability}%` }} />
          </div>
        </li>
      ))}
    </ol>
  );
}

/** Who answered, about what. */
export function Facts({ item, prediction }: { item: Item; prediction: Prediction }) {
  const { model, input, requestId } = prediction;
  return (
    <dl class="facts">
      <dt>Model</dt>
      <dd>{model.name}</dd>
      <dt>Version</dt>
      <dd>{model.version}</dd>
      <dt>Weights</dt>
      <dd>
        <code title={`SHA-256 ${model.sha256}`}>{model.sha256.slice(0, 16)}</code>
      </dd>
      <dt>Provider</dt>
      <dd>{model.provider}</dd>
      <dt>Picture</dt>
      <dd>
        {input.width} × {input.height}
        {item.picture === null && ", which this browser cannot show"}
      </dd>
      <dt>Seen</dt>
      <dd>{seen(input)}</dd>
      <dt>Request</dt>
      <dd>
        <code>{requestId}</code>
      </dd>
    </dl>
  );
}

const STAGES = ["decode", "queue", "inference"] as const;

/** Where the server's time went: a bar of parts, and the figures in words. */
export function Timings({ timings }: { timings: Prediction["timingsMs"] }) {
  const stages = STAGES.map((name) => ({ name, ms: timings[name] ?? 0 }));
  const { total = 0 } = timings;
  const other = Math.max(0, total - stages.reduce((sum, { ms }) => sum + ms, 0));
  const parts = [...stages, { name: "other", ms: other }];
  return (
    <div class="timings">
      <div class="stack" aria-hidden="true">
        {parts.map(({ name, ms }) => (
          <i key={name} class={name} style={{ flexGrow: String(ms) }} />
        ))}
      </div>
      <ul>
        {parts.map(({ name, ms }) => (
          <li key={name} class={name}>
            {name} {duration(ms)}
          </li>
        ))}
        <li class="total">total {duration(total)}</li>
      </ul>
    </div>
  );
}
