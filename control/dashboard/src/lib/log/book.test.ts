import { expect, test } from "vitest";
import { asText, Book, segments, whereabouts } from "./book";

const texts = (book: Book) => book.entries.map(({ text }) => text).join(" ");
const at = (time: number, ...all: string[]) => all.map((text) => ({ text, time }));

test("it is bounded by lines and by characters, and counts what it dropped", () => {
  const book = new Book(3, 10);
  book.add(0, at(1, "a", "b", "c", "d"));
  expect([texts(book), book.dropped, book.total]).toEqual(["b c d", 1, 4]);
  book.add(0, at(1, "0123456789"));
  expect([texts(book), book.dropped]).toEqual(["0123456789", 4]);
  const many = new Book();
  for (let turn = 0; turn < 60; turn++) many.add(0, Array.from({ length: 1_000 }, (_, index) => ({ text: `${turn} ${index}` })));
  expect([many.entries.length, many.dropped, many.entries[0]?.text]).toEqual([20_000, 40_000, "40 0"]);
});

test("lines of several logs stand by their times, each log in its own order", () => {
  const book = new Book();
  book.add(0, [...at(1, "a1"), ...at(5, "a5"), ...at(9, "a9")]);
  book.add(1, [...at(2, "b2"), ...at(5, "b5"), ...at(0, "b?"), ...at(4, "b4"), ...at(10, "b10")]);
  book.add(0, at(9, "a9'"));
  expect(texts(book)).toBe("a1 b2 a5 b5 b? b4 a9 a9' b10");
  expect(book.entries.map(({ id }) => id).sort()).toHaveLength(9);
  expect(whereabouts(book.entries, 5)).toBe(2);
  expect(whereabouts(book.entries, 11)).toBe(9);
});

test("one begins with what several keep", () => {
  const books = [new Book(), new Book()] as const;
  books[0].add(0, [...at(1, "a1"), ...at(7, "a7")]);
  books[1].add(0, at(4, "b4"));
  const one = new Book();
  one.find("b");
  one.fill(books);
  one.add(1, at(5, "b5"));
  expect(texts(one)).toBe("a1 b4 b5 a7");
  expect(one.entries.map(({ source, hit }) => [source, hit])).toEqual([[0, false], [1, true], [1, true], [0, false]]);
});

test("what is searched for is found in what is there and in what comes, not in remarks", () => {
  const book = new Book();
  book.add(0, [{ text: "an Error" }, { text: "errors were cut", gap: true }]);
  book.find("ERROR");
  book.add(0, [{ text: "fine" }, { text: "2 errors" }]);
  expect(book.entries.map(({ hit }) => hit)).toEqual([true, false, false, true]);
  book.find("");
  expect(book.entries.some(({ hit }) => hit)).toBe(false);
});

test("a line is cut where its look changes", () => {
  const line = { text: "an error: no error", marks: [{ from: 3, to: 8, look: "red" }] };
  const told = (query: string, colours: boolean) => segments(line, query, colours).map(({ text, look, hit }) => `${text}|${look}|${hit ? "hit" : ""}`);
  expect(told("", false)).toEqual(["an error: no error||"]);
  expect(told("", true)).toEqual(["an ||", "error|red|", ": no error||"]);
  expect(told("R: N", true)).toEqual(["an ||", "erro|red|", "r|red|hit", ": n||hit", "o error||"]);
  expect(told("error", false)).toEqual(["an ||", "error||hit", ": no ||", "error||hit"]);
});

test("as text, with times and names", () => {
  const book = new Book();
  book.add(0, [{ text: "one", time: 1_795_467_600 }, { text: "7 bytes were cut", gap: true }]);
  book.add(1, [{ text: "two", time: 0 }]);
  expect(asText(book.entries, false)).toContain("one\n");
  expect(asText(book.entries, true, ["gw-1", "gw-2"])).toBe("unknown              gw-2 two\n2026-11-23T21:00:00Z gw-1 one\n--- 7 bytes were cut\n");
});
