import type { RefObject } from "preact";
import { useLayoutEffect, useState } from "preact/hooks";

const WIDEST = 2048;

/** How wide an element is in device pixels, now and whenever that changes; 0 before it is known. */
export function useDeviceWidth(element: RefObject<HTMLElement | null>): number {
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const shown = element.current;
    if (!shown) return;
    const measure = () => {
      const wide = Math.round(shown.clientWidth * window.devicePixelRatio);
      if (wide > 0) setWidth(Math.min(wide, WIDEST)); // hidden: what is drawn stays
    };
    const observer = new ResizeObserver(measure);
    observer.observe(shown);
    window.addEventListener("resize", measure); // the pixel ratio changes with the zoom
    measure();
    return () => {
      observer.disconnect();
      window.removeEventListener("resize", measure);
    };
  }, [element]);
  return width;
}
