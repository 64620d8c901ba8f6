// A part of a log as a file: of one device as its bytes are, of several in the order of their times.
import { asText, Book } from "../lib/log/book";
import { Frames, Reader } from "../lib/log/lines";
import { logAddress, parameters, type Range } from "../lib/log/range";
import { refusal } from "./client";

interface Where {
  device: string;
  workload: string;
}

async function asked({ device, workload }: Where, part: Record<string, string>): Promise<Uint8Array<ArrayBuffer>> {
  const answer = await fetch(logAddress(device, workload, part), { credentials: "same-origin" });
  if (!answer.ok) throw refusal(answer.status, await answer.json().catch(() => undefined));
  return new Uint8Array(await answer.arrayBuffer());
}

export async function downloaded(from: readonly Where[], range: Range, times: boolean, now = new Date()): Promise<{ name: string; content: Uint8Array<ArrayBuffer> | string }> {
  const [first, ...more] = from;
  if (!first) throw new Error("no device is chosen");
  const stamp = now.toISOString().slice(0, 19).replaceAll(":", "-");
  const part = parameters(range);
  if (more.length === 0) return { name: `${first.workload}-${first.device}-${stamp}.log`, content: await asked(first, { ...part, ...(times ? { timestamps: "true" } : {}) }) };
  const book = new Book(Infinity, Infinity);
  const all = await Promise.all(from.map((one) => asked(one, { ...part, framed: "true", timestamps: "true" })));
  all.forEach((bytes, source) => {
    const reader = new Reader();
    const lines = new Frames().push(bytes).flatMap((piece) => reader.take(piece));
    book.add(source, [...lines, ...reader.end()]);
  });
  return { name: `${first.workload}-${from.length}-devices-${stamp}.log`, content: asText(book.entries, times, from.map(({ device }) => device)) };
}
