// Before something is destroyed: what, in words; and when it hits many, its name typed.
import { Button, TextInput } from "@mantine/core";
import { useState } from "react";
import { reason } from "../api/client";
import { Dialog } from "./Dialog";
import { Notice } from "./Notice";

interface Props {
  title: string;
  /** What is destroyed, and what is not. */
  children: React.ReactNode;
  /** The words on the button, naming the act: `Revoke pump-7`. */
  act: string;
  /** To be typed, when many are hit. */
  typed?: string | undefined;
  run: () => Promise<unknown>;
  close: () => void;
}

export function Confirm({ title, children, act, typed, run, close }: Props) {
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState("");
  const ready = typed === undefined || text.trim() === typed;
  const go = async () => {
    if (!ready || busy) return;
    setBusy(true);
    setFailure("");
    try {
      await run();
      close();
    } catch (error) {
      setFailure(reason(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} close={close}>
      <form
        className="hf-stack"
        onSubmit={(event) => {
          event.preventDefault();
          void go();
        }}
      >
        <div>{children}</div>
        {typed !== undefined && (
          <TextInput label={<>Type <span className="hf-mono">{typed}</span> to confirm</>} value={text} onChange={(event) => setText(event.currentTarget.value)} autoComplete="off" spellCheck={false} data-autofocus />
        )}
        {failure && <Notice tone="bad" title="Not done" alert>{failure}</Notice>}
        <div className="hf-row">
          <Button type="submit" color="red" disabled={!ready} loading={busy}>{act}</Button>
          <Button variant="default" onClick={close} {...(typed === undefined ? { "data-autofocus": true } : {})}>Cancel</Button>
        </div>
      </form>
    </Dialog>
  );
}
