import { COLORMAPS, type Prediction, SCALES } from "attnvgg-client";
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { effectiveLevel } from "./level.js";
import { Legend, type LookOptions, Thumbnail } from "./look/index.js";
import type { Action, Item } from "./state.js";
import { percent } from "./words.js";

const SCALE_NAMES = { uniform: "Times uniform", minmax: "Min to max" } as const;
const COLORMAP_NAMES = { ember: "Ember", tide: "Tide", grey: "Grey" } as const;

interface Props {
  readonly items: readonly Item[];
  readonly options: LookOptions;
  readonly dispatch: (action: Action) => void;
}

/** How maps are shown: one bar for all pictures, so that they can be compared. */
export function Bar({ items, options, dispatch }: Props) {
  const newest = items.find(({ prediction }) => hasMaps(prediction))?.prediction;
  if (!newest) return null;
  const set = (changes: Partial<LookOptions>) => dispatch({ type: "options", options: changes });
  const shown = { ...options, level: effectiveLevel(newest, options.level) };
  return (
    <section id="bar" aria-label="How the maps are shown">
      <Levels prediction={newest} options={shown} set={set} />
      <Folded summary="Scale, colours, opacity">
        <Knobs options={shown} set={set} />
        <Legend options={shown} />
      </Folded>
    </section>
  );
}

/** Where there is little room, its content is shown when asked for; elsewhere always. */
function Folded({ summary, children }: { summary: string; children: ComponentChildren }) {
  const [open, setOpen] = useState(false);
  return (
    <div class="folded">
      <button
        type="button"
        class="fold"
        aria-expanded={open}
        aria-controls="knobs"
        onClick={() => setOpen(!open)}
      >
        {summary}
      </button>
      <div id="knobs" class="knobs" data-open={String(open)}>
        {children}
      </div>
    </div>
  );
}

interface PartProps {
  readonly options: LookOptions;
  readonly set: (changes: Partial<LookOptions>) => void;
}

function Levels({ prediction, options, set }: PartProps & { prediction: Prediction }) {
  return (
    <div id="level" role="radiogroup" aria-label="Attention map">
      {Object.entries(prediction.attention ?? {}).map(([level, map]) => (
        <label key={level} class="level">
          <input
            type="radio"
            name="level"
            value={level}
            checked={level === options.level}
            onChange={() => set({ level })}
          />
          <Thumbnail map={map} options={{ ...options, level }} selected={level === options.level} />
          <span>{level}</span>
          <small>{map.shape.join(" × ")}</small>
        </label>
      ))}
    </div>
  );
}

function Knobs({ options, set }: PartProps) {
  return (
    <div class="fields">
      <Choice
        id="scale"
        label="Scale"
        names={SCALE_NAMES}
        values={SCALES}
        value={options.scale}
        pick={(scale) => set({ scale })}
      />
      <Choice
        id="colormap"
        label="Colours"
        names={COLORMAP_NAMES}
        values={COLORMAPS}
        value={options.colormap}
        pick={(colormap) => set({ colormap })}
      />
      <Opacity options={options} set={set} />
      <label class="check">
        <input
          id="smooth"
          type="checkbox"
          checked={options.smooth}
          onChange={({ currentTarget: { checked } }) => set({ smooth: checked })}
        />
        <span>Smooth</span>
      </label>
    </div>
  );
}

interface ChoiceProps<Value extends string> {
  readonly id: string;
  readonly label: string;
  readonly names: Readonly<Record<Value, string>>;
  readonly values: readonly Value[];
  readonly value: Value;
  readonly pick: (value: Value) => void;
}

function Choice<Value extends string>(props: ChoiceProps<Value>) {
  const { id, label, names, values, value, pick } = props;
  const change = (chosen: string) => {
    const found = values.find((one) => one === chosen);
    if (found !== undefined) pick(found);
  };
  return (
    <label class="field">
      <span>{label}</span>
      <select id={id} value={value} onChange={({ currentTarget }) => change(currentTarget.value)}>
        {values.map((one) => (
          <option key={one} value={one}>
            {names[one]}
          </option>
        ))}
      </select>
    </label>
  );
}

function Opacity({ options, set }: PartProps) {
  return (
    <label class="field opacity">
      <span>
        Opacity <output>{percent(options.alpha).replace(".0", "")}</output>
      </span>
      <input
        id="opacity"
        type="range"
        min="0"
        max="100"
        value={Math.round(100 * options.alpha)}
        onInput={({ currentTarget: { value } }) => set({ alpha: Number(value) / 100 })}
      />
    </label>
  );
}

function hasMaps(prediction: Prediction | null): boolean {
  return Object.keys(prediction?.attention ?? {}).length > 0;
}
