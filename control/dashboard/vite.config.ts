// How the pages are built: compressed forms beside every file, the licences of what is inside,
// and a bound on what the first visit loads. The build fails above it.
import { defineConfig } from "vite";
import react from "@vitejs/plugin-react";
import { compressed, firstLoad, licences, usedStyles } from "./scripts/build-plugins.mjs";

export default defineConfig({
  plugins: [react(), licences(), usedStyles(), compressed(), firstLoad({ pages: ["src/start.tsx", "src/pages/fleet/index.tsx"], limit: 250 * 1024, login: 24 * 1024 })],
  build: {
    target: "es2022",
    manifest: true,
    // Data URIs for scripts and fonts are not in the Content-Security-Policy.
    assetsInlineLimit: 0,
    // Chromium, Firefox and Safari all have it by themselves.
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
    reportCompressedSize: false,
    // A page's own chunk is told from shared ones of the same name.
    rollupOptions: { output: { chunkFileNames: ({ facadeModuleId }: { facadeModuleId?: string | null }) => `assets/${/\/src\/pages\/\w+\/index\.tsx$/.test(facadeModuleId ?? "") ? "page-" : ""}[name]-[hash].js` } },
  },
  server: {
    // `npm run dev` against a running control plane: HOLDFAST_URL=https://127.0.0.1:8443
    proxy: { "/api": { target: process.env.HOLDFAST_URL ?? "https://127.0.0.1:8443", secure: false, changeOrigin: true } },
  },
  test: { include: ["src/**/*.test.{ts,mjs}"], environment: "node" },
} as Parameters<typeof defineConfig>[0]);
