// A text that is there to be copied, and the button that does it.
import { Button } from "@mantine/core";
import { useState } from "react";
import { Icon } from "./icons";

export function CopyButton({ text, children = "Copy" }: { text: string | (() => string); children?: React.ReactNode }) {
  const [done, setDone] = useState<"" | "Copied" | "Select the text and copy it by hand">("");
  return (
    <>
      <Button
        size="xs"
        variant="default"
        leftSection={<Icon name="copy" />}
        onClick={() => {
          navigator.clipboard.writeText(typeof text === "string" ? text : text()).then(
            () => setDone("Copied"),
            () => setDone("Select the text and copy it by hand"),
          );
          setTimeout(() => setDone(""), 3_000);
        }}
      >
        {done || children}
      </Button>
      <span className="hf-hidden" role="status">{done}</span>
    </>
  );
}
