// The dialog of a restart, a pause or a resume: how many devices it hits, then how far it is, then
// what became of it, device by device where it did not work.
import { Button, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { reason } from "../api/client";
import { pause, restart, type RestartProgress, type RestartResult } from "../api/jobs";
import * as read from "../api/queries";
import { MANY_HIT, paused, restarted } from "../lib/jobs";
import { count } from "../lib/words";
import { Dialog } from "./Dialog";
import { Loading } from "./Loading";
import { Failed, Notice } from "./Notice";
import { deviceAt, PageLink } from "./PageLink";
import { say } from "./say";

export type Act = "restart" | "pause" | "resume";

interface Props {
  act: Act;
  workload: string;
  device?: string | undefined;
  close: () => void;
}

const TITLES: Record<Act, string> = { restart: "Restart", pause: "Pause", resume: "Resume" };

/** Devices of a result that are named. */
const NAMED = 50;

export default function WorkloadAct({ act, workload, device, close }: Props) {
  const known = useQuery({ ...read.workload(workload), enabled: device === undefined });
  const hit = device === undefined ? known.data?.status.desired : 1;
  const [typed, setTyped] = useState("");
  const [busy, setBusy] = useState(false);
  const [progress, setProgress] = useState<RestartProgress>();
  const [result, setResult] = useState<RestartResult>();
  const [failure, setFailure] = useState("");
  const stop = useRef<AbortController>(undefined);
  // Whoever leaves the page has no further device asked.
  useEffect(() => () => stop.current?.abort(), []);

  const needed = hit !== undefined && hit > MANY_HIT ? String(hit) : undefined;
  const ready = hit !== undefined && hit > 0 && !busy && (needed === undefined || typed.replace(/[,\s]/g, "") === needed);
  const go = async () => {
    if (!ready) return;
    setBusy(true);
    setFailure("");
    try {
      if (act === "restart") {
        stop.current = new AbortController();
        const done = await restart(workload, device, stop.current.signal, setProgress);
        if (done.failed.length + done.notAsked.length > 0) setResult(done);
        else {
          say(`${workload} ${restarted(done)}`);
          close();
        }
      } else {
        say(`${workload} ${paused(act === "pause" ? "paused" : "resumed", await pause(workload, device, act === "pause"))}`);
        close();
      }
    } catch (error) {
      setFailure(reason(error));
    } finally {
      setBusy(false);
    }
  };
  const where = device === undefined ? "everywhere" : `on ${device}`;
  const title = `${TITLES[act]} ${workload} ${where}?`;
  if (result) {
    return (
      <Dialog title={`Restart of ${workload} ${where}`} close={close}>
        <div className="hf-stack">
          <p role="status">{workload} was {restarted(result)}.</p>
          <Rest of={result.failed} title="Not restarted" tone="bad" />
          <Rest of={result.notAsked} title="Not asked, and not restarted later" tone="idle" />
          <div><Button variant="default" onClick={close} data-autofocus>Close</Button></div>
        </div>
      </Dialog>
    );
  }
  return (
    <Dialog title={title} close={close}>
      <form
        className="hf-stack"
        onSubmit={(event) => {
          event.preventDefault();
          void go();
        }}
      >
        {known.error && !known.data && <Failed error={known.error} what="The workload could not be read" retry={() => void known.refetch()} />}
        {hit === undefined && !known.error && <Loading rows={1} />}
        {hit !== undefined && <Words act={act} workload={workload} hit={hit} device={device} />}
        {needed !== undefined && !busy && (
          <TextInput label={<>Type <span className="hf-mono">{needed}</span>, the number of devices, to confirm</>} value={typed} onChange={(event) => setTyped(event.currentTarget.value)} inputMode="numeric" autoComplete="off" data-autofocus />
        )}
        {failure && <Notice tone="bad" title="Not done" alert>{failure}</Notice>}
        {busy && act === "restart" && <p role="status">{progress ? `${progress.answered.toLocaleString("en")} of ${count(progress.of, "device")} have answered` : "Asking…"}</p>}
        <div className="hf-row">
          <Button type="submit" disabled={!ready} loading={busy}>{TITLES[act]} on {hit === undefined ? "…" : count(hit, "device")}</Button>
          <Button variant="default" onClick={close} {...(needed === undefined ? { "data-autofocus": true } : {})}>{busy && act === "restart" ? "Ask no more devices" : "Cancel"}</Button>
        </div>
      </form>
    </Dialog>
  );
}

function Words({ act, workload, hit, device }: { act: Act; workload: string; hit: number; device: string | undefined }) {
  const on = device === undefined ? count(hit, "device") : device;
  const all = device === undefined;
  if (hit === 0) return <p>No device should run <strong>{workload}</strong>.</p>;
  if (act === "restart") return <p><strong>{workload}</strong> is stopped on {on} and started again at once, in the same revision. {all ? "Devices that are offline, or where it is paused, are not asked and not restarted later." : "If the device is offline nothing happens, now or later."}</p>;
  if (act === "pause") return <p><strong>{workload}</strong> is stopped on {on} and stays stopped until it is resumed, also after a reboot, without a link and through new revisions{all ? ", and on devices that come later" : ""}. Its files and its log stay. {all ? "Devices that are offline follow when they are back." : "If the device is offline it follows when it is back."}</p>;
  return <p><strong>{workload}</strong> starts again wherever it is paused{all ? "" : ` on ${on}`}. {all ? "Devices that are offline follow when they are back." : "If the device is offline it follows when it is back."}</p>;
}

function Rest({ of, title, tone }: { of: readonly { device: string; reason: string }[]; title: string; tone: "bad" | "idle" }) {
  if (of.length === 0) return null;
  return (
    <Notice tone={tone} title={title}>
      <ul className="hf-list">
        {of.slice(0, NAMED).map(({ device, reason }) => <li key={device}><PageLink to={deviceAt(device)}>{device}</PageLink>: {reason}</li>)}
        {of.length > NAMED && <li>and {(of.length - NAMED).toLocaleString("en")} more</li>}
      </ul>
    </Notice>
  );
}
