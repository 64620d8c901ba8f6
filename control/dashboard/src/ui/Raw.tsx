// A document as the API gives it.
import { SegmentedControl } from "@mantine/core";
import { useState } from "react";
import { toYaml } from "../lib/document";
import { CopyButton } from "./Copy";

export function Raw({ of, label }: { of: unknown; label: string }) {
  const [form, setForm] = useState("yaml");
  const text = form === "yaml" ? toYaml(of) : JSON.stringify(of, null, 2);
  return (
    <div className="hf-stack hf-tight">
      <div className="hf-row hf-spread">
        <SegmentedControl size="xs" value={form} onChange={setForm} data={[{ value: "yaml", label: "YAML" }, { value: "json", label: "JSON" }]} aria-label="Form of the document" />
        <CopyButton text={text} />
      </div>
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls: the keyboard needs a way in */}
      <pre className="hf-code" tabIndex={0} role="region" aria-label={label}>{text}</pre>
    </div>
  );
}
