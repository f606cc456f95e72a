import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

interface Props {
  readonly summary: string;
  /** Until the visitor opens or closes it. */
  readonly open: boolean;
  readonly children: ComponentChildren;
}

/** What is shown where there is room, or when asked for. */
export function More({ summary, open, children }: Props) {
  const [chosen, choose] = useState<boolean | null>(null);
  const isOpen = chosen ?? open;
  // Also told of when the attribute follows the state; then there is nothing to choose.
  const follow = ({ currentTarget }: { currentTarget: HTMLDetailsElement }) => {
    if (currentTarget.open !== isOpen) choose(currentTarget.open);
  };
  return (
    <details class="more" open={isOpen} onToggle={follow}>
      <summary>{summary}</summary>
      {children}
    </details>
  );
}
