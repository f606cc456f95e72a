/** Pictures that are dropped on the page or pasted into it, wherever. */

import { useEffect, useRef, useState } from "preact/hooks";

type Take = (files: File[]) => void;

/** Gives `take` the files, and says whether some are held over the page just now. */
export function useIntake(take: Take): boolean {
  const [over, setOver] = useState(false);
  const latest = useRef(take);
  latest.current = take;
  useEffect(() => {
    const ended = new AbortController();
    const { signal } = ended;
    const hold = (event: DragEvent) => {
      if (!hasFiles(event.dataTransfer)) return;
      event.preventDefault(); // or the browser would open the file in place of the page
      setOver(true);
    };
    const leave = (event: DragEvent) => {
      if (event.relatedTarget === null) setOver(false);
    };
    const drop = (event: DragEvent) => {
      setOver(false);
      if (!hasFiles(event.dataTransfer)) return;
      event.preventDefault();
      give(event.dataTransfer, latest.current);
    };
    document.addEventListener("dragenter", hold, { signal });
    document.addEventListener("dragover", hold, { signal });
    document.addEventListener("dragleave", leave, { signal });
    document.addEventListener("drop", drop, { signal });
    document.addEventListener("paste", (event) => give(event.clipboardData, latest.current), {
      signal,
    });
    return () => ended.abort();
  }, []);
  return over;
}

function hasFiles(data: DataTransfer | null): boolean {
  return data?.types.includes("Files") ?? false;
}

function give(data: DataTransfer | null, take: Take): void {
  const files = [...(data?.files ?? [])];
  if (files.length > 0) take(files);
}
