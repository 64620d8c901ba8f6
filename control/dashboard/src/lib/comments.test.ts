import { expect, test } from "vitest";
import { hasComments } from "./comments";

test("comments are told from what looks like them", () => {
  for (const text of ["# on top\na: 1\n", "a: 1 # why\n", "a:\n  # below\n  b: 2\n", "a: [1, # one\n  2]\n", "a: 1\n---\n# second\nb: 2\n"]) expect(hasComments(text), text).toBe(true);
  for (const text of ["", "a: 1\n", "a: 'x # y'\n", 'a: "# y"\n', "a: b#c\n", "a: |\n  # a line of a script\n  #!/bin/sh\n", "a: >\n  # folded\n", "--- |\n# root\n"]) expect(hasComments(text), text).toBe(false);
});
