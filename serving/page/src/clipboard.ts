/**
 * Copies what an element says, and tells whether that worked. Without https there is no clipboard
 * but the selection's; where even that fails, the text is left selected.
 */
export async function copy(element: HTMLElement): Promise<boolean> {
  const text = element.textContent ?? "";
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copySelected(element);
  }
}

function copySelected(element: HTMLElement): boolean {
  const selection = getSelection();
  selection?.selectAllChildren(element);
  const done = document.execCommand("copy");
  if (done) selection?.removeAllRanges();
  return done;
}
