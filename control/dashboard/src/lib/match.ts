// How well a text answers a search: all words must be in it; beginnings count more.

export function score(text: string, query: string): number {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return 1;
  const within = text.toLowerCase();
  let total = 0;
  for (const word of words) {
    const at = within.indexOf(word);
    if (at < 0) return 0;
    total += at === 0 ? 4 : /[\s\-._/]/.test(within[at - 1] ?? "") ? 2 : 1;
  }
  return total + 1 / (1 + within.length);
}
