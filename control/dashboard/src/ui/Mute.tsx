// Acknowledging and silencing: two buttons, and the dialogs that ask why and for how long.
import { Button, Select, Textarea } from "@mantine/core";
import { useState } from "react";
import { mute } from "../api/alarms";
import { reason } from "../api/client";
import { matcherWords, SPANS, type Matcher } from "../lib/alarms";
import { count } from "../lib/words";
import { Dialog } from "./Dialog";
import { Notice } from "./Notice";
import { say } from "./say";
import { ActButton } from "./rights";

type What = "acknowledge" | "silence";

/** The two buttons for the alarms of a matcher. `about`: what they are about, for screen readers. */
export function MuteButtons({ of, about }: { of: Matcher; about: string }) {
  const [asking, setAsking] = useState<What>();
  return (
    <span className="hf-row hf-tight">
      <ActButton may="alarm.acknowledge" size="compact-xs" variant="default" onClick={() => setAsking("acknowledge")} aria-label={`Acknowledge: ${about}`}>Acknowledge…</ActButton>
      <ActButton may="alarm.silence" size="compact-xs" variant="default" onClick={() => setAsking("silence")} aria-label={`Silence: ${about}`}>Silence…</ActButton>
      {asking && <Ask what={asking} of={of} close={() => setAsking(undefined)} />}
    </span>
  );
}

function Ask({ what, of, close }: { what: What; of: Matcher; close: () => void }) {
  const [note, setNote] = useState("");
  const [seconds, setSeconds] = useState(String(SPANS[1]?.[0]));
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState("");
  const acknowledging = what === "acknowledge";
  const go = async () => {
    setBusy(true);
    setFailure("");
    try {
      const made = await mute(what, { ...of, note: note.trim(), ...(acknowledging ? {} : { forSeconds: Number(seconds) }) });
      say(`${count(made.alarms, "alarm")} ${acknowledging ? "acknowledged" : "silenced"}`);
      close();
    } catch (error) {
      setFailure(reason(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title={acknowledging ? "Acknowledge alarms" : "Silence alarms"} close={close}>
      <form className="hf-stack" onSubmit={(event) => { event.preventDefault(); void go(); }}>
        <p><strong>{matcherWords(of)}</strong></p>
        <p>{acknowledging ? "Those that there are now are not notified again, until they end. What begins later is notified." : "Those that there are and those that begin meanwhile are not notified until the time is over. They stay visible."}</p>
        {!acknowledging && <Select label="For" data={SPANS.map(([value, label]) => ({ value: String(value), label }))} value={seconds} onChange={(value) => setSeconds(value ?? seconds)} allowDeselect={false} />}
        <Textarea label="Note" description="For the next shift: who does what, and until when" value={note} onChange={(event) => setNote(event.currentTarget.value)} maxLength={500} autosize minRows={2} data-autofocus />
        {failure && <Notice tone="bad" title="Not done" alert>{failure}</Notice>}
        <div className="hf-row">
          <Button type="submit" loading={busy}>{acknowledging ? "Acknowledge" : "Silence"}</Button>
          <Button variant="default" onClick={close}>Cancel</Button>
        </div>
      </form>
    </Dialog>
  );
}
