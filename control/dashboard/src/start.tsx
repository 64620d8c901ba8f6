// The beginning: styles with the server's nonce, who is logged in, then the pages.
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
import { nonce } from "./ui/nonce";
import { theme, variables } from "./ui/theme";

setNonce(nonce);

const place = document.getElementById("root");
if (!place) throw new Error("index.html has no #root");
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
