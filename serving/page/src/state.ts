/** What the page shows, and how it changes: a pure function of what happened. */

import type { ModelInfo, Prediction } from "attnvgg-client";
import type { LookOptions } from "./look/index.js";
import type { Failure } from "./words.js";

/** So many pictures are kept: decoded, each takes up to 6 MB, and its canvas as much again. */
export const MOST = 32;

/** A picture to ask about. `from` is where a sample can be had, null for a visitor's own file. */
export interface Source {
  readonly file: File;
  readonly from: string | null;
}

/** The model that a request names. */
export interface Choice {
  readonly name: string;
  readonly version: string;
}

/**
 * One picture. `picture` is null until it is decoded, and stays so if this browser cannot.
 * `waiting`: the server was too busy, and the SDK is about to ask again. A busy item that has a
 * prediction is being asked about again. `asked` is the model that its last request named.
 */
export interface Item {
  readonly id: number;
  readonly source: Source;
  readonly picture: ImageBitmap | null;
  readonly status: "busy" | "done" | "failed";
  readonly waiting: boolean;
  readonly asked: Choice | null;
  readonly prediction: Prediction | null;
  readonly failure: Failure | null;
}

/** What is wrong with more than one picture. `known`: a key was given, and it is not right. */
export type Trouble = { readonly kind: "gone" } | { readonly kind: "key"; readonly known: boolean };

/**
 * `model` is null while it is not known which there are. `options.level` "" is the default one.
 * `keyed`: the server wants a key. `leftOut`: so many pictures of the last ones did not fit.
 */
export interface State {
  readonly items: readonly Item[];
  readonly models: readonly ModelInfo[];
  readonly model: Choice | null;
  readonly options: LookOptions;
  readonly trouble: Trouble | null;
  readonly keyed: boolean;
  readonly leftOut: number;
}

/** What can happen. */
export type Action =
  | { readonly type: "added"; readonly items: readonly { id: number; source: Source }[] }
  | { readonly type: "asked"; readonly id: number }
  | { readonly type: "pictured"; readonly id: number; readonly picture: ImageBitmap }
  | { readonly type: "waiting"; readonly id: number; readonly waiting: boolean }
  | { readonly type: "answered"; readonly id: number; readonly prediction: Prediction }
  | { readonly type: "failed"; readonly id: number; readonly failure: Failure }
  | { readonly type: "removed"; readonly id: number }
  | { readonly type: "cleared" }
  | { readonly type: "models"; readonly models: readonly ModelInfo[] }
  | { readonly type: "chosen"; readonly model: Choice }
  | { readonly type: "options"; readonly options: Partial<LookOptions> }
  | { readonly type: "trouble"; readonly trouble: Trouble | null };

export const START: State = {
  items: [],
  models: [],
  model: null,
  options: { level: "", alpha: 0.7, colormap: "ember", scale: "uniform", smooth: true },
  trouble: null,
  keyed: false,
  leftOut: 0,
};

/** The state after `action`. What it says of a picture that was removed changes nothing. */
export function reduce(state: State, action: Action): State {
  switch (action.type) {
    case "added":
      return add(state, action.items);
    case "removed":
      return { ...state, items: state.items.filter(({ id }) => id !== action.id), leftOut: 0 };
    case "cleared":
      return { ...state, items: [], leftOut: 0 };
    case "models":
      return withModels(state, action.models);
    case "chosen":
      return { ...state, model: action.model };
    case "options":
      return { ...state, options: { ...state.options, ...action.options } };
    case "trouble":
      return withTrouble(state, action.trouble);
    default:
      return change(state, action.id, changed(state, action));
  }
}

type OfItem = Extract<Action, { type: "asked" | "pictured" | "waiting" | "answered" | "failed" }>;

function changed(state: State, action: OfItem): Partial<Item> {
  switch (action.type) {
    case "asked":
      return { status: "busy", waiting: false, failure: null, asked: state.model };
    case "pictured":
      return { picture: action.picture };
    case "waiting":
      return { waiting: action.waiting };
    case "answered":
      return { status: "done", waiting: false, prediction: action.prediction, failure: null };
    case "failed":
      return { status: "failed", waiting: false, prediction: null, failure: action.failure };
  }
}

function change(state: State, id: number, changes: Partial<Item>): State {
  const items = state.items.map((item) => (item.id === id ? { ...item, ...changes } : item));
  return { ...state, items };
}

function add(state: State, added: readonly { id: number; source: Source }[]): State {
  const taken = added.slice(0, Math.max(0, MOST - state.items.length));
  const items = taken.map(({ id, source }) => fresh(id, source, state.model));
  return {
    ...state,
    items: [...items, ...state.items],
    leftOut: added.length - taken.length,
  };
}

function fresh(id: number, source: Source, asked: Choice | null): Item {
  const unknown = { picture: null, prediction: null, failure: null };
  return { id, source, asked, status: "busy", waiting: false, ...unknown };
}

/** A server that says which models it has is content with the key. */
function withModels(state: State, models: readonly ModelInfo[]): State {
  const trouble = state.trouble?.kind === "key" ? null : state.trouble;
  return { ...state, models, model: choice(models, state.model), trouble };
}

function withTrouble(state: State, trouble: Trouble | null): State {
  return { ...state, trouble, keyed: state.keyed || trouble?.kind === "key" };
}

/** The model that was chosen, if the server still has it, or its default. */
function choice(models: readonly ModelInfo[], before: Choice | null): Choice | null {
  const kept = models.find((model) => before !== null && same(model, before));
  const found = kept ?? models.find((model) => model.default) ?? models[0];
  return found ? { name: found.name, version: found.version } : null;
}

/** Whether two choices name the same model in the same version. */
export function same(one: Choice, other: Choice): boolean {
  return one.name === other.name && one.version === other.version;
}
