import type { Input } from "attnvgg-client";
import type { CanvasHTMLAttributes } from "preact";
import { useState } from "preact/hooks";
import { type Cell, cellByKey, cellUnder, type Level } from "./cells.js";

type Place = Cell | "outside";

interface State {
  readonly level: Level;
  readonly place: Place;
}

/** Where somebody points, and the handlers that find out. */
export interface Cursor {
  readonly place: Place | null;
  /** Keys or taps move it, so that what is there should be read out. A mouse would cause a flood. */
  readonly live: boolean;
  readonly handlers: CanvasHTMLAttributes<HTMLCanvasElement>;
}

/** A cell cursor for mouse, touch and keyboard. It goes when the level changes. */
export function useCursor(level: Level | null, input: Input): Cursor {
  const [state, setState] = useState<State | null>(null);
  const [live, setLive] = useState(false);
  const current = state && state.level === level ? state : null;
  const go = (place: Place | null, speak: boolean) => {
    setState((before) => (place && level ? moved(before, { level, place }) : null));
    setLive(speak);
  };
  const point = (event: MouseEvent, speak: boolean) => {
    if (level) go(placeOf(event, level, input), speak);
  };
  const handlers: CanvasHTMLAttributes<HTMLCanvasElement> = {
    onPointerMove: (event) => isTouch(event) || point(event, false),
    onPointerLeave: (event) => isTouch(event) || go(null, false),
    onClick: (event) => point(event, true),
    onFocus: () => setLive(true),
    onBlur: () => go(null, false),
    onKeyDown: (event) => {
      const from = current && current.place !== "outside" ? current.place : null;
      const next = level && !withModifier(event) ? cellByKey(level, from, event.key) : null;
      if (next) go(next, true);
      else if (event.key === "Escape" && current) go(null, true);
      else return;
      event.preventDefault();
    },
  };
  return { place: current?.place ?? null, live, handlers };
}

/** The same object while the pointer stays in a cell, so that nothing is drawn again. */
function moved(before: State | null, after: State): State {
  return before?.level === after.level && same(before.place, after.place) ? before : after;
}

function same(a: Place, b: Place): boolean {
  if (a === "outside" || b === "outside") return a === b;
  return a.row === b.row && a.column === b.column;
}

function placeOf(event: MouseEvent, level: Level, input: Input): Place {
  if (!(event.currentTarget instanceof Element)) return "outside";
  const { left, top, width, height } = event.currentTarget.getBoundingClientRect();
  return cellUnder(level, input, (event.clientX - left) / width, (event.clientY - top) / height);
}

/** A finger that moves is scrolling; its tap comes as a click. */
function isTouch(event: PointerEvent): boolean {
  return event.pointerType === "touch";
}

function withModifier(event: KeyboardEvent): boolean {
  return event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
}
