// Documents to begin with, one for each way in which a workload runs.
import CONTAINER from "./example-container.yaml?raw";
import GROUP from "./example-group.yaml?raw";
import PROCESS from "./example.yaml?raw";
import { found } from "./images";

export interface Example {
  title: string;
  text: string;
}

/** The first is what an empty page begins with. */
export const EXAMPLES = [
  { title: "A process", text: PROCESS },
  { title: "A container", text: CONTAINER },
  { title: "Several containers", text: GROUP },
] as const satisfies readonly Example[];

type Held = Parameters<typeof found>[0][number];

/** An example with images that are here, in the place of names that mean none; the newest of each
 * repository. Where there are none, its own names stay: the dry run says what is missing. */
export function filled(text: string, images: readonly Held[]): string {
  const names = new Set(images.flatMap(({ name, tags }) => tags.map((tag) => `${name}:${tag}`)));
  const firsts = new Map<string, string>();
  for (const { name, tags } of found(images, "")) if (tags[0] && !firsts.has(name)) firsts.set(name, `${name}:${tags[0]}`);
  const offered = [...firsts.values()];
  let next = 0;
  return text.replace(/(\bimage: )(\S+)/g, (whole, key: string, image: string) => {
    if (names.has(image) || offered.length === 0) return whole;
    return `${key}${offered[Math.min(next++, offered.length - 1)] ?? image}`;
  });
}

/** The text with an example: in the place of an untouched one, else as a further document. Nothing that
 * somebody wrote is lost. */
export function inserted(text: string, untouched: readonly string[], example: string): string {
  if (text.trim() === "" || untouched.includes(text)) return example;
  return `${text.replace(/\s*$/, "\n")}---\n${example}`;
}
