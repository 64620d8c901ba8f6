// Something to know, with its weight; and failures of requests in the server's own words.
import { Button } from "@mantine/core";
import { isOutOfReach, reason, Refusal } from "../api/client";
import { sentence } from "../lib/rights";
import type { Tone } from "./State";

export function Notice({ tone, title, children, alert = false }: { tone: Tone; title?: React.ReactNode; children?: React.ReactNode; alert?: boolean }) {
  return (
    <div className={`hf-notice hf-${tone}`} {...(alert ? { role: "alert" } : {})}>
      {title && <strong>{title}</strong>}
      {children && <div className="hf-notice-body">{children}</div>}
    </div>
  );
}

export function Failed({ error, what, retry }: { error: unknown; what: string; retry?: () => void }) {
  // The banner says that nobody answers; a second voice would only alarm.
  if (isOutOfReach(error)) return <p>{what}: not known while the control plane is out of reach.</p>;
  // Not allowed is no fault, and trying again does not help.
  if (error instanceof Refusal && error.code === "refused") return <Notice tone="idle" title="You may not see this">{sentence(reason(error))}.</Notice>;
  return (
    <Notice tone="bad" title={what} alert>
      <div className="hf-row hf-spread">
        <span>{reason(error)}</span>
        {retry && <Button size="xs" variant="default" onClick={retry}>Try again</Button>}
      </div>
    </Notice>
  );
}
