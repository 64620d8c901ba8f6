// Terminal codes of a line: colours as marks beside the text, everything else gone. What steers a
// terminal never reaches the page.

/** Longest line that is shown whole. */
const LONGEST = 4_000;
/** Marks of one line: a line of nothing but colours is bounded too. */
const MOST_MARKS = 200;

const CODE = /\u001b(?:\[([0-?]*)[ -/]*([@-~])?|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g;
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** A part of a line that looks different: class names without their prefix. */
export interface Mark {
  from: number;
  to: number;
  look: string;
}

/** What the codes so far ask for; it holds until it is taken back, over the ends of lines. */
export interface Pen {
  hue?: string;
  back?: string;
  bold?: boolean;
  faint?: boolean;
  italic?: boolean;
  under?: boolean;
  turned?: boolean;
}

const HUES = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

export interface Coloured {
  text: string;
  marks: Mark[];
  pen: Pen;
}

/** A line as plain text with its colours. Control characters that are no colours become visible. */
export function coloured(raw: string, begin: Pen): Coloured {
  const line = raw.replace(/\r+$/, "");
  if (!line.includes("\u001b")) return cut(visible(line), begin.hue === undefined && look(begin) === "" ? [] : [{ from: 0, to: Infinity, look: look(begin) }], begin);
  const marks: Mark[] = [];
  let text = "";
  let pen = begin;
  let at = 0;
  const take = (piece: string) => {
    const shown = visible(piece);
    const how = look(pen);
    if (how !== "" && shown !== "" && marks.length < MOST_MARKS) marks.push({ from: text.length, to: text.length + shown.length, look: how });
    text += shown;
  };
  for (const found of line.matchAll(CODE)) {
    take(line.slice(at, found.index));
    at = found.index + found[0].length;
    if (found[2] === "m") pen = painted(pen, found[1] ?? "");
  }
  take(line.slice(at));
  return cut(text, marks, pen);
}

function visible(text: string): string {
  return text.replace(CONTROL, "\ufffd");
}

function cut(text: string, marks: Mark[], pen: Pen): Coloured {
  if (text.length <= LONGEST) return { text, marks: marks.map((mark) => ({ ...mark, to: Math.min(mark.to, text.length) })).filter(({ from, to }) => from < to), pen };
  const kept = marks.filter(({ from }) => from < LONGEST).map((mark) => ({ ...mark, to: Math.min(mark.to, LONGEST) }));
  return { text: `${text.slice(0, LONGEST)}… (${text.length.toLocaleString("en")} characters)`, marks: kept, pen };
}

/** The pen after one code of colours, such as `1;31` or `38;5;196`. */
function painted(before: Pen, codes: string): Pen {
  let pen: Pen = { ...before };
  const numbers = codes.split(/[;:]/).map(Number);
  for (let at = 0; at < numbers.length; at++) {
    const code = numbers[at] ?? 0;
    if (code === 38 || code === 48) {
      const [hue, used] = wide(numbers.slice(at + 1));
      at += used;
      if (code === 38) pen.hue = hue;
      else pen.back = hue;
    } else if (code === 0) pen = {};
    else if (code === 1) pen.bold = true;
    else if (code === 2) pen.faint = true;
    else if (code === 3) pen.italic = true;
    else if (code === 4) pen.under = true;
    else if (code === 7) pen.turned = true;
    else if (code === 22) {
      delete pen.bold;
      delete pen.faint;
    } else if (code === 23) delete pen.italic;
    else if (code === 24) delete pen.under;
    else if (code === 27) delete pen.turned;
    else if (code === 39) delete pen.hue;
    else if (code === 49) delete pen.back;
    else if (code >= 30 && code <= 37) pen.hue = HUES[code - 30];
    else if (code >= 90 && code <= 97) pen.hue = HUES[code - 90];
    else if (code >= 40 && code <= 47) pen.back = HUES[code - 40];
    else if (code >= 100 && code <= 107) pen.back = HUES[code - 100];
  }
  return pen;
}

/** The nearest of the eight hues of a colour by number (`5;196`) or by its parts (`2;255;0;0`), and
 * how many numbers it took. */
function wide([kind, a, b = 0, c = 0]: number[]): [hue: string | undefined, used: number] {
  if (a === undefined) return [undefined, 1];
  if (kind === 2) return [near(a, b, c), 4];
  if (kind !== 5) return [undefined, 0];
  if (a < 16) return [HUES[a % 8], 2];
  if (a >= 232) return [a > 243 ? "white" : "black", 2];
  const cube = a - 16;
  const part = (number: number) => (number === 0 ? 0 : 55 + 40 * number);
  return [near(part(Math.floor(cube / 36)), part(Math.floor(cube / 6) % 6), part(cube % 6)), 2];
}

function near(red: number, green: number, blue: number): string {
  const most = Math.max(red, green, blue);
  if (most - Math.min(red, green, blue) < 40) return most > 127 ? "white" : "black";
  const on = (part: number) => (part > most * 0.6 ? 1 : 0);
  return HUES[on(red) + 2 * on(green) + 4 * on(blue)] ?? "white";
}

function look({ hue, back, bold, faint, italic, under, turned }: Pen): string {
  // A background gives its hue to the whole: each of them is readable on its own ground.
  const ground = turned ? hue ?? "white" : back;
  const words = [ground ? `on-${ground}` : hue, bold && "bold", faint && "faint", italic && "italic", under && "under"];
  return words.filter(Boolean).join(" ");
}
