// A length of time as the command line takes it: `90s`, `15m`, `24h`, `30d`.

const SECONDS: Record<string, number> = { s: 1, m: 60, h: 3_600, d: 86_400 };
/** The server's own bound: ten years. */
const MOST = 10 * 365 * 86_400;

export function ttl(text: string): { seconds: number; fault?: undefined } | { seconds?: undefined; fault: string } {
  const match = /^(\d{1,10})([smhd])$/.exec(text.trim());
  const seconds = Number(match?.[1]) * (SECONDS[match?.[2] ?? ""] ?? NaN);
  if (Number.isNaN(seconds)) return { fault: "a number with s, m, h or d, such as 24h" };
  if (seconds < 1 || seconds > MOST) return { fault: "from one second to ten years" };
  return { seconds };
}
