// Builds the page into the serving package: index.html, which the server gives at /, and page.js,
// index.css and what is in public/, which it gives under /web/. Addresses are relative to the page,
// so that it also works beneath a proxy's path. `vite` alone serves the sources as they are being
// written, before the gateway at $ATTNVGG_URL.
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const { ATTNVGG_URL = "http://127.0.0.1:3000" } = process.env;
const folder = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: folder("."),
  base: "./",
  resolve: { alias: { "attnvgg-client": folder("../../clients/typescript/src/index.ts") } },
  server: {
    proxy: Object.fromEntries(
      ["/v1", "/readyz", "/openapi.json", "/metrics"].map((path) => [path, ATTNVGG_URL]),
    ),
  },
  experimental: {
    renderBuiltUrl: (name) => `./web/${name}`,
  },
  build: {
    outDir: folder("../attnvgg_serving/web"),
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    assetsInlineLimit: 0,
    rollupOptions: {
      output: {
        entryFileNames: "page.js",
        chunkFileNames: "[name].js",
        assetFileNames: "[name][extname]",
      },
    },
  },
});
