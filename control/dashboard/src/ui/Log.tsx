// A log that follows: bounded, as text, with a way to hold it still.
import { Button } from "@mantine/core";
import { memo, useEffect, useLayoutEffect, useRef, useState } from "react";
import { reason, refusal } from "../api/client";
import { Frames, KEPT, Reader, type Line } from "../lib/log";
import { exact, second } from "../lib/time";
import { Notice } from "./Notice";
import { State } from "./State";

/** Lines drawn as one element, so that a new line does not draw all the others again. */
const BLOCK = 100;
/** New lines are drawn at most this often. */
const PACE = 80;
const RETRY_FIRST = 1_000;
const RETRY_LAST = 15_000;

interface Block {
  id: number;
  lines: Line[];
}

function add(blocks: readonly Block[], lines: Line[]): Block[] {
  const all = [...blocks];
  for (const line of lines) {
    const last = all.at(-1);
    if (last && last.lines.length < BLOCK) all[all.length - 1] = { id: last.id, lines: [...last.lines, line] };
    else all.push({ id: (last?.id ?? 0) + 1, lines: [line] });
  }
  return all.slice(-KEPT / BLOCK);
}

const Text = memo(function Text({ block }: { block: Block }) {
  return <>{block.lines.map((line, index) => <span key={index} className={line.gap ? "hf-line hf-log-gap" : "hf-line"}>{line.time !== undefined && <When time={line.time} />}{line.text}{"\n"}</span>)}</>;
});

/** When a line was written. */
function When({ time }: { time: number }) {
  if (time === 0) return <span className="hf-log-time" title="The device's clock was wrong, or it did not look">{"unknown  "}</span>;
  return <time className="hf-log-time" dateTime={new Date(time * 1000).toISOString()} title={exact(time * 1000)}>{`${second(time)}  `}</time>;
}

interface Props {
  device: string;
  workload: string;
  online: boolean;
  /** Lines from the end to begin with. */
  tail: number;
  /** Lines begin with when they were written. */
  times: boolean;
  /** So many runs before the present one; 0: all runs, and what comes. */
  run: number;
}

export function Log({ device, workload, online, tail, times, run }: Props) {
  const [blocks, setBlocks] = useState<readonly Block[]>([]);
  const [state, setState] = useState<{ kind: "opening" | "following" | "whole" | "broken"; why?: string }>({ kind: "opening" });
  const [stuck, setStuck] = useState(true);
  const place = useRef<HTMLPreElement>(null);

  useEffect(() => {
    if (!online) return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let wait = RETRY_FIRST;
    const reader = new Reader();
    const take = (lines: Line[]) => setBlocks((before) => add(before, lines));
    const read = async () => {
      setState({ kind: "opening" });
      try {
        const part = new URLSearchParams({ framed: "true", tail: String(tail), ...(run > 0 ? { previous: String(run) } : { follow: "true" }) });
        if (times) part.set("timestamps", "true");
        // After an interruption it goes on where it ended.
        if (reader.place !== undefined) part.set("after", reader.place);
        else setBlocks([]);
        const address = `/api/v1/devices/${encodeURIComponent(device)}/workloads/${encodeURIComponent(workload)}/logs?${part}`;
        const answer = await fetch(address, { signal: stop.signal, credentials: "same-origin" });
        if (!answer.ok || !answer.body) throw refusal(answer.status, await answer.json().catch(() => undefined));
        setState({ kind: "following" });
        wait = RETRY_FIRST;
        await follow(answer.body, reader, take, stop.signal);
        if (run > 0) {
          take(reader.end());
          setState({ kind: "whole" });
          return;
        }
        throw new Error("the log's stream ended");
      } catch (error) {
        if (stop.signal.aborted) return;
        setState({ kind: "broken", why: reason(error) });
        timer = setTimeout(() => void read(), wait);
        wait = Math.min(wait * 2, RETRY_LAST);
      }
    };
    void read();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [device, workload, online, tail, times, run]);

  useLayoutEffect(() => {
    const pre = place.current;
    if (pre && stuck) pre.scrollTop = pre.scrollHeight;
  }, [blocks, stuck]);

  return (
    <div className="hf-stack hf-tight">
      <div className="hf-row hf-spread">
        <span role="status">
          {!online ? <State tone="idle">the device is offline: its log cannot be read now</State>
            : state.kind === "following" ? <State tone="good">following</State>
            : state.kind === "whole" ? <State tone="idle">all of an earlier run</State>
            : state.kind === "opening" ? <State tone="move">asking the device</State>
            : <State tone="warn">interrupted, trying again</State>}
        </span>
        <Button size="xs" variant="default" aria-pressed={!stuck} onClick={() => setStuck(!stuck)}>{stuck ? "Hold still" : "Follow the end"}</Button>
      </div>
      {online && state.why && <Notice tone="warn" title="The log stopped">{state.why}</Notice>}
      <pre
        className="hf-code hf-log"
        ref={place}
        // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls: the keyboard needs a way in
        tabIndex={0}
        role="log"
        aria-live="off"
        aria-label={`Log of ${workload} on ${device}`}
        onScroll={(event) => {
          const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
          setStuck(scrollHeight - scrollTop - clientHeight < 24);
        }}
      >
        {blocks.map((block) => <Text key={block.id} block={block} />)}
        {blocks.length === 0 && (state.kind === "following" || state.kind === "whole") && <span className="hf-line">It has written nothing yet.</span>}
      </pre>
    </div>
  );
}

async function follow(body: ReadableStream<Uint8Array>, log: Reader, take: (lines: Line[]) => void, stop: AbortSignal): Promise<void> {
  const frames = new Frames();
  const reader = body.getReader();
  let waiting: Line[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  const flush = () => {
    clearTimeout(timer);
    timer = undefined;
    if (!stop.aborted) take(waiting);
    waiting = [];
  };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      for (const piece of frames.push(value)) waiting.push(...log.take(piece));
      if (waiting.length > KEPT) waiting = waiting.slice(-KEPT);
      if (waiting.length > 0) timer ??= setTimeout(flush, PACE);
    }
  } finally {
    // What was read counts as shown: it is not asked for again.
    flush();
  }
}
