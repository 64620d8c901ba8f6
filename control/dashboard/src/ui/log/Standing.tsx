// How a log stands: whether its device has answered, when it was last heard, what is missing.
import { Button } from "@mantine/core";
import { useEffect, useState } from "react";
import { LATE, type DeviceLog } from "../../api/logs";
import { reach } from "../../api/reach";
import { useStore } from "../../api/store";
import { span } from "../../lib/time";
import { State } from "../State";
import { Time } from "../Time";

interface Props {
  log: DeviceLog;
  online: boolean;
  /** When the control plane last heard of the device. */
  heardAt: string | null | undefined;
}

export function Standing({ log, online, heardAt }: Props) {
  const state = useStore(log.state);
  const away = useStore(reach).since !== undefined;
  const now = useSeconds();
  const heard = heardAt ? <span className="hf-kind">last heard <Time at={heardAt} /></span> : null;
  if (!online && state.kind !== "whole")
    return <><span role="status"><State tone="idle">offline: its log can be read when it is back</State></span>{heard}</>;
  if (state.kind === "whole") return <span role="status"><State tone="idle">complete</State></span>;
  if (state.kind === "idle") return <span role="status"><State tone="idle">not asked yet</State></span>;
  if (state.kind === "asked") {
    const seconds = Math.floor((now - state.since) / 1000);
    return (
      <>
        <span role="status"><State tone={now - state.since > LATE ? "warn" : "move"}>asked, no answer yet</State></span>
        {seconds > 0 && <span className="hf-kind">for {span(seconds)}</span>}
        {seconds > 0 && heard}
      </>
    );
  }
  if (state.kind === "following") {
    const quiet = now - state.word;
    if (away) return <span role="status"><State tone="warn">interrupted: the control plane does not answer</State></span>;
    if (quiet <= LATE) return <span role="status"><State tone="good">following</State></span>;
    return (
      <>
        <span role="status"><State tone="warn">the device does not answer</State></span>
        <span className="hf-kind">for {span(quiet / 1000)}, last answer <Clock at={state.word} /></span>
      </>
    );
  }
  if (state.kind === "refused")
    return (
      <>
        <span role="status"><State tone="warn">not read</State></span>
        <span>{state.why}</span>
        <Button size="compact-xs" variant="default" onClick={() => log.start()}>Ask again</Button>
      </>
    );
  return (
    <>
      <span role="status"><State tone="warn">interrupted, asking again</State></span>
      <span className="hf-kind">{state.why}</span>
    </>
  );
}

function Clock({ at }: { at: number }) {
  return <time dateTime={new Date(at).toISOString()}>{new Date(at).toLocaleTimeString()}</time>;
}

/** The time, to the second. */
function useSeconds(): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  return now;
}
