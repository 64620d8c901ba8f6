// A log that follows: bounded, as text, with a way to hold it still.
import { Button } from "@mantine/core";
import { memo, useEffect, useLayoutEffect, useRef, useState } from "react";
import { reason, refusal } from "../api/client";
import { KEPT, Lines } from "../lib/log";
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
  lines: string[];
}

function add(blocks: readonly Block[], lines: string[]): Block[] {
  const all = [...blocks];
  for (const line of lines) {
    const last = all.at(-1);
    if (last && last.lines.length < BLOCK) all[all.length - 1] = { id: last.id, lines: [...last.lines, line] };
    else all.push({ id: (last?.id ?? 0) + 1, lines: [line] });
  }
  return all.slice(-KEPT / BLOCK);
}

const Text = memo(function Text({ block }: { block: Block }) {
  return <>{block.lines.map((line, index) => <span key={index} className="hf-line">{line}{"\n"}</span>)}</>;
});

interface Props {
  device: string;
  workload: string;
  online: boolean;
  /** Lines from the end to begin with. */
  tail: number;
}

export function Log({ device, workload, online, tail }: Props) {
  const [blocks, setBlocks] = useState<readonly Block[]>([]);
  const [state, setState] = useState<{ kind: "opening" | "following" | "broken"; why?: string }>({ kind: "opening" });
  const [stuck, setStuck] = useState(true);
  const place = useRef<HTMLPreElement>(null);

  useEffect(() => {
    if (!online) return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let wait = RETRY_FIRST;
    const read = async () => {
      setState({ kind: "opening" });
      try {
        const address = `/api/v1/devices/${encodeURIComponent(device)}/workloads/${encodeURIComponent(workload)}/logs?follow=true&tail=${tail}`;
        const answer = await fetch(address, { signal: stop.signal, credentials: "same-origin" });
        if (!answer.ok || !answer.body) throw refusal(answer.status, await answer.json().catch(() => undefined));
        setBlocks([]);
        setState({ kind: "following" });
        wait = RETRY_FIRST;
        await follow(answer.body, (lines) => setBlocks((before) => add(before, lines)), stop.signal);
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
  }, [device, workload, online, tail]);

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
        {blocks.length === 0 && state.kind === "following" && <span className="hf-line">It has written nothing yet.</span>}
      </pre>
    </div>
  );
}

async function follow(body: ReadableStream<Uint8Array>, take: (lines: string[]) => void, stop: AbortSignal): Promise<void> {
  const lines = new Lines();
  const reader = body.pipeThrough(new TextDecoderStream() as unknown as ReadableWritablePair<string, Uint8Array>).getReader();
  let waiting: string[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  const flush = () => {
    timer = undefined;
    if (!stop.aborted) take(waiting);
    waiting = [];
  };
  for (;;) {
    const { done, value } = await reader.read();
    waiting.push(...(done ? lines.end() : lines.push(value)));
    if (waiting.length > KEPT) waiting = waiting.slice(-KEPT);
    if (waiting.length > 0) timer ??= setTimeout(flush, PACE);
    if (done) return;
  }
}
