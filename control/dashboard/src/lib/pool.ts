// Many small requests with a bound on how many are under way, with progress and a way to stop.

export interface Outcome<T> {
  done: T[];
  failed: { item: T; reason: string }[];
}

export async function pool<T>(
  items: readonly T[],
  width: number,
  each: (item: T) => Promise<void>,
  progress: (done: number, failed: number) => void,
  stop: AbortSignal,
): Promise<Outcome<T>> {
  const outcome: Outcome<T> = { done: [], failed: [] };
  let next = 0;
  async function worker() {
    for (;;) {
      const item = items[next++];
      if (item === undefined || stop.aborted) return;
      try {
        await each(item);
        outcome.done.push(item);
      } catch (error) {
        outcome.failed.push({ item, reason: error instanceof Error ? error.message : String(error) });
      }
      progress(outcome.done.length, outcome.failed.length);
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
  return outcome;
}
