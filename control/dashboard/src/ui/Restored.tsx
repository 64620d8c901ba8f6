// What a restore did, in words. No session outlives it: the login says it, and then the page.
import { restored } from "../api/uploads";
import { useStore } from "../api/store";
import { count } from "../lib/words";
import { Notice } from "./Notice";
import { Time } from "./Time";

export function Restored({ login = false }: { login?: boolean }) {
  const now = useStore(restored);
  if (!now) return null;
  return (
    <Notice tone="good" title={`Restored: ${count(now.devices, "device")} and ${count(now.workloads, "workload")}`}>
      <div className="hf-stack hf-tight">
        <span>From <span className="hf-mono">{now.file}</span>, <Time at={now.at} />. The restore epoch is {now.epoch} from now on.</span>
        {(now.notes ?? []).length > 0 && <ul>{(now.notes ?? []).map((note) => <li key={note}>{note}</li>)}</ul>}
        {login && <span>Your session ended with it: log in with an access token of the backup.</span>}
      </div>
    </Notice>
  );
}
