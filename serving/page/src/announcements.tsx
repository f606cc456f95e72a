import { useEffect, useRef, useState } from "preact/hooks";
import type { Item } from "./state.js";
import { percent, said } from "./words.js";

/** Tells a screen reader what came of the pictures: each once, when none is under way any more. */
export function Announcements({ items }: { items: readonly Item[] }) {
  const [text, setText] = useState("");
  const busy = useRef(new Set<number>());
  const settled = useRef<ReturnType<typeof outcome>[]>([]);
  useEffect(() => {
    const before = busy.current;
    busy.current = new Set(items.filter(({ status }) => status === "busy").map(({ id }) => id));
    const done = items.filter(({ id, status }) => status !== "busy" && before.has(id));
    settled.current.push(...done.map(outcome));
    if (busy.current.size > 0 || settled.current.length === 0) return;
    setText(said(settled.current));
    settled.current = [];
  }, [items]);
  return (
    <p class="unseen" role="status">
      {text}
    </p>
  );
}

function outcome({ source, prediction, failure }: Item) {
  const answer = prediction && `${prediction.label}, ${percent(prediction.probability)}`;
  const name = source.file.name;
  return { name, outcome: answer ?? failure?.title ?? "no answer", ok: prediction !== null };
}
