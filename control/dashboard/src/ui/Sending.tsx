// How far an upload is, with its way out, and how it ended when it did not end well.
import { Button, Progress } from "@mantine/core";
import type { Upload } from "../api/upload";
import { bytes } from "../lib/words";
import { Notice } from "./Notice";

interface Props {
  of: Upload<unknown>;
  /** `Not stored`, `Not restored`. */
  not: string;
  /** What the control plane does once it has all. */
  storing: string;
}

export function Sending({ of, not, storing }: Props) {
  if (of.kind === "sending") {
    const part = of.size === 0 ? 0 : Math.floor((of.sent / of.size) * 100);
    return (
      <div className="hf-stack hf-tight">
        <span>Sending <strong className="hf-mono">{of.name}</strong></span>
        <Progress value={part} aria-label={`Sending ${of.name}`} transitionDuration={0} />
        <div className="hf-row hf-spread">
          <span className="hf-kind">{part}%: {bytes(of.sent)} of {bytes(of.size)}. You may look at other pages meanwhile.</span>
          <Button size="xs" variant="default" onClick={of.cancel}>Cancel</Button>
        </div>
      </div>
    );
  }
  if (of.kind === "storing") {
    return (
      <div className="hf-stack hf-tight" role="status">
        <span>All of <strong className="hf-mono">{of.name}</strong> is sent ({bytes(of.size)})</span>
        <span className="hf-kind">{storing}</span>
      </div>
    );
  }
  if (of.kind === "cancelled") return <Notice tone="idle" title={`${not}: cancelled`}>{of.name} was not sent whole; nothing changed.</Notice>;
  if (of.kind === "failed") {
    return (
      <Notice tone="bad" title={`${not}: ${of.name}`} alert>
        {of.why}
        {of.faults.length > 0 && <ul>{of.faults.map((fault, index) => <li key={index}><span className="hf-mono">{fault.path}</span>: {fault.message}</li>)}</ul>}
      </Notice>
    );
  }
  return null;
}
