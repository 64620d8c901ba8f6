import { expect, test } from "vitest";
import { read } from "./faults";
import { EXAMPLES, filled, inserted } from "./examples";
import { containersOf } from "./images";

const image = (name: string, tags: string[], day = 1) => ({ name, tags, digest: `sha256:${"a".repeat(64)}`, pushedAt: `2026-11-0${day}T00:00:00Z` });
const images = (text: string) => containersOf((read(text).values[0] as { spec: unknown }).spec).map(({ image }) => image);

test("each example is one whole document", () => {
  for (const { title, text } of EXAMPLES) {
    const { values, syntax } = read(text);
    expect([title, values.length, syntax]).toEqual([title, 1, []]);
  }
  expect(EXAMPLES.map(({ text }) => images(text).length)).toEqual([0, 1, 2]);
});

test("an example names images that are here, and its own where there are none", () => {
  const [, container, group] = EXAMPLES;
  expect(images(filled(container.text, []))).toEqual(["shop/till:1.4"]);
  expect(images(filled(container.text, [image("web", ["2"])]))).toEqual(["web:2"]);
  expect(images(filled(group.text, [image("web", ["2"])]))).toEqual(["web:2", "web:2"]);
  expect(images(filled(group.text, [image("web", ["2"]), image("a", ["1"], 1), image("a", ["3"], 2), image("untagged", [])]))).toEqual(["a:3", "web:2"]);
  // One that is here stays.
  expect(images(filled(group.text, [image("a", ["1"]), image("shop/web", ["1.4"])]))).toEqual(["a:1", "shop/web:1.4"]);
});

test("what somebody wrote is never replaced", () => {
  expect(inserted("a: 1\n", ["a: 1\n"], "b: 2\n")).toBe("b: 2\n");
  expect(inserted(" \n", [], "b: 2\n")).toBe("b: 2\n");
  expect(inserted("a: 1\n\n", [], "b: 2\n")).toBe("a: 1\n---\nb: 2\n");
});
