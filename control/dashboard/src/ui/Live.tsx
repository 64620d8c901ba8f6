// The small sign in the head of every page: whether what one sees is live, and how long ago the
// control plane was last heard. Renewed each second; said to nobody, the banner speaks.
import { useEffect, useState } from "react";
import { lastWord, reach } from "../api/reach";
import { session } from "../api/state";
import { useStore } from "../api/store";
import { waitingSince } from "../api/wire";
import { ago, link } from "../lib/live";
import { exact } from "../lib/time";

/** A request that waits for this long is said. */
const WAITS = 1_500;

export function Live() {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  const { since } = useStore(reach);
  const open = useStore(session).kind === "open";
  if (!open) return null;
  const heard = since ?? lastWord();
  const waits = waitingSince();
  const state = since !== undefined ? "lost" : waits !== undefined && now - waits > WAITS ? "waits" : link(heard, now) === "live" ? "live" : "late";
  const words = {
    live: <>live · {ago(heard, now)}<span className="hf-wide"> ago</span></>,
    late: <>quiet · {ago(heard, now)}</>,
    waits: <>waiting · {ago(waits ?? now, now)}</>,
    lost: <>no answer · {ago(heard, now)}</>,
  }[state];
  return <span className={`hf-live hf-live-${state}`} title={`The control plane was last heard ${exact(heard)}. It says something at least every 12 s.`}>{words}</span>;
}
