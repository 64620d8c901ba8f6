// What the server would make of a text: asked a moment after the last key, with every answer kept
// beside the text that it is about.
import { useEffect, useMemo, useState } from "react";
import { apply } from "../api/actions";
import { Refusal, reason } from "../api/client";
import type { AppliedDocument } from "../api/types";
import { locate, read, type Fault, type Mark } from "../lib/faults";
import { check, type Schema } from "../lib/schema";

/** After the last key. */
const PAUSE = 400;

export interface Guard {
  /** Of the document; absent: Workload. */
  kind?: string | undefined;
  name: string;
  kind?: string | undefined;
  version: number;
}

interface Answer {
  key: string;
  results?: AppliedDocument[];
  faults?: readonly Fault[];
  conflict?: boolean;
  failure?: string;
}

export interface DryRun {
  documents: unknown[];
  marks: Mark[];
  /** The server's answer about the present text is here. */
  settled: boolean;
  results: AppliedDocument[] | undefined;
  conflict: boolean;
  failure: string | undefined;
}

/** The documents as they are sent: with the version that was edited, so that nothing newer is overwritten. */
export function guarded(values: readonly unknown[], guard: Guard | undefined): unknown[] {
  return values.map((value) => {
    const document = value as { kind?: unknown; metadata?: { name?: unknown } };
    if (!guard || document?.kind !== (guard.kind ?? "Workload") || document.metadata?.name !== guard.name) return value;
    return { ...document, metadata: { ...document.metadata, resourceVersion: guard.version } };
  });
}

export function useDryRun(text: string, schema: Schema | undefined, guard: Guard | undefined): DryRun {
  const [answer, setAnswer] = useState<Answer>();
  const parsed = useMemo(() => read(text), [text]);
  const key = `${guard?.version ?? ""}:${text}`;
  const isBroken = parsed.syntax.some((mark) => mark.severity === "error");
  const documents = useMemo(() => guarded(parsed.values, guard), [parsed, guard]);
  useEffect(() => {
    if (isBroken || documents.length === 0) return;
    let over = false;
    const timer = setTimeout(() => {
      apply(documents, true).then(
        ({ results }) => !over && setAnswer({ key, results }),
        (error: unknown) => {
          if (over) return;
          if (error instanceof Refusal && error.faults.length > 0) setAnswer({ key, faults: error.faults });
          else if (error instanceof Refusal && error.code === "conflict") setAnswer({ key, conflict: true });
          else setAnswer({ key, failure: reason(error) });
        },
      );
    }, PAUSE);
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [documents, isBroken, key]);
  const now = answer?.key === key ? answer : undefined;
  const marks = useMemo(() => {
    if (isBroken) return parsed.syntax;
    // The server has the last word; until it has spoken the schema says what it can.
    const faults = now ? (now.faults ?? []) : schema ? parsed.values.flatMap((value, index) => check(schema, value).map((fault) => ({ ...fault, path: parsed.values.length > 1 ? `documents[${index}] (): ${fault.path}` : fault.path }))) : [];
    return [...parsed.syntax, ...locate(parsed.documents, faults)];
  }, [isBroken, parsed, now, schema]);
  return { documents, marks, settled: now !== undefined || isBroken || documents.length === 0, results: now?.results, conflict: now?.conflict ?? false, failure: now?.failure };
}
