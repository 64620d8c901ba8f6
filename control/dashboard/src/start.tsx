// The pages: styles with the server's nonce, the event stream, the router. Called once, with whoever
// is logged in.
import { MantineProvider, localStorageColorSchemeManager } from "@mantine/core";
import { QueryClientProvider } from "@tanstack/react-query";
import { setNonce } from "get-nonce";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "@mantine/core/styles.css";
import "./ui/base.css";
import { App } from "./App";
import { watch } from "./api/events";
import { queries } from "./api/query-client";
import { opened } from "./api/session";
import type { Found } from "./login/ask";
import { fetchAll } from "./ui/later";
import { nonce } from "./ui/nonce";
import { theme, variables } from "./ui/theme";

/** What stands on the first page goes before what other pages need, in milliseconds. */
const FIRST = 1_000;

let started = false;

export function start(place: HTMLElement, found: Found): void {
  if (started) return;
  started = true;
  setNonce(nonce);
  opened(found);
  watch();
  createRoot(place).render(
    <StrictMode>
      <MantineProvider
        theme={theme}
        cssVariablesResolver={variables}
        defaultColorScheme="auto"
        colorSchemeManager={localStorageColorSchemeManager({ key: "holdfast-scheme" })}
        getStyleNonce={() => nonce}
      >
        <QueryClientProvider client={queries}>
          <App />
        </QueryClientProvider>
      </MantineProvider>
    </StrictMode>,
  );
  setTimeout(() => void fetchAll(), FIRST);
}
