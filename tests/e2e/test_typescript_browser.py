"""The TypeScript SDK in a real Chromium: what only a browser can give it as a picture."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from node import needs_node_modules, node
from support import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

pytestmark = needs_node_modules
PHOTO = ROOT / "export" / "attnvgg_export" / "photos" / "cat.jpg"
# A page beneath a path, as behind a proxy; the server is at the root.
FOLDER = "/beneath/a/path"
ASK = """async () => {
  const { Client, ItemError } = attnvgg;
  const client = new Client();
  const blob = await (await fetch("photo.jpg")).blob();
  const bitmap = await createImageBitmap(blob);
  const draw = (canvas) => {
    Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    return canvas;
  };
  const frame = document.body.appendChild(document.createElement("iframe"));
  const canvas = draw(document.createElement("canvas"));
  const pictures = {
    file: new File([blob], "photo.jpg"),
    bytes: await blob.arrayBuffer(),
    relative: "photo.jpg",
    url: new URL("photo.jpg", document.baseURI),
    objectUrl: URL.createObjectURL(blob),
    dataUrl: canvas.toDataURL("image/png"),
    bitmap,
    canvas,
    offscreen: draw(new OffscreenCanvas(1, 1)),
    imageData: canvas.getContext("2d").getImageData(0, 0, bitmap.width, bitmap.height),
    blobOfAnotherWindow: new frame.contentWindow.Blob([await blob.arrayBuffer()]),
    canvasOfAnotherWindow: draw(frame.contentDocument.createElement("canvas")),
  };
  const answers = {};
  for (const [name, picture] of Object.entries(pictures)) {
    const { label, input } = await client.predict(picture);
    answers[name] = [label, input.width, input.height];
  }
  const errors = [];
  const failing = async (call) => errors.push(await call.then(String, (error) => String(error)));
  const closed = await createImageBitmap(blob);
  closed.close();
  await failing(client.predict(closed));
  await failing(new Client("/moved").models());
  await failing(client.predict("silent", { signal: AbortSignal.timeout(50) }));
  await failing(new Client("http://127.0.0.1:1", { maxRetries: 0 }).models());
  return { url: client.url, answers, errors };
}"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SDK for a <script>: the global `attnvgg`."""
    folder = tmp_path_factory.mktemp("script")
    source = ROOT / "clients" / "typescript" / "src" / "index.ts"
    options = f"{{entry: {str(source)!r}, name: 'attnvgg', formats: ['iife'], fileName: 'sdk'}}"
    config = folder / "vite.config.mjs"
    config.write_text(f"export default {{build: {{lib: {options}, outDir: {str(folder)!r}}}}};\n")
    node("vite", "build", "--config", str(config), "--logLevel", "warn", folder=folder)
    (built,) = folder.glob("sdk*.js")
    return built


def test_every_kind_of_picture_of_a_browser(browser: "Browser", gateway: str, script: Path) -> None:
    def answer(**how: Any) -> Callable[["Route"], None]:
        return lambda route: route.fulfill(**how)

    def pass_on(route: "Route") -> None:
        route.continue_(url=route.request.url.replace(FOLDER, ""))

    page = browser.new_page()
    page.route("**/*", pass_on)
    page.route(f"**{FOLDER}/page.html*", answer(body="<body>", content_type="text/html"))
    page.route(f"**{FOLDER}/photo.jpg", answer(body=PHOTO.read_bytes()))
    page.route(f"**{FOLDER}/silent", lambda _: None)
    page.route("**/moved/**", answer(status=302, headers={"Location": "/livez"}))
    page.goto(f"{gateway}{FOLDER}/page.html?of=mine#here")
    page.add_script_tag(path=script)
    found = page.evaluate(ASK)
    page.close()
    assert found["url"] == f"{gateway}{FOLDER}"
    first = found["answers"]["file"]
    assert first[1:] == [320, 213]
    assert found["answers"] == dict.fromkeys(found["answers"], first)
    closed, moved, late, away = found["errors"]
    assert closed == "InvalidPictureError: the ImageBitmap given is 0 x 0 pixels"
    assert moved.startswith("ProtocolError: ")
    assert "redirects are not followed" in moved
    assert late.startswith("TimeoutError")
    assert away.startswith("APIConnectionError: http://127.0.0.1:1 cannot be reached")
