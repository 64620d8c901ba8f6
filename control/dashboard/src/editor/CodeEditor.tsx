// The YAML editor: CodeMirror with completion from the API's JSON Schema, and marks at the places
// of faults. Heavy: it is loaded only where it is used.
import { autocompletion, closeBrackets, completionKeymap, startCompletion, type CompletionContext, type CompletionResult } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { bracketMatching, HighlightStyle, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { searchKeymap } from "@codemirror/search";
import { Compartment, EditorState } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { useEffect, useImperativeHandle, useRef, type Ref } from "react";
import { cursor, kindAt } from "../lib/cursor";
import type { Mark } from "../lib/faults";
import { isImageAt } from "../lib/images";
import { at, forKind, keys, opens, resolve, values, type Schema } from "../lib/schema";
import { nonce } from "../ui/nonce";

export interface EditorHandle {
  jump: (from: number, to: number) => void;
}

interface Props {
  value: string;
  onChange: (text: string) => void;
  marks: readonly Mark[];
  schema: Schema | undefined;
  /** Names of images to complete. */
  images: readonly string[];
  label: string;
  submit?: (() => void) | undefined;
  handle?: Ref<EditorHandle>;
}

const colours = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--hf-move)" },
  { tag: [tags.string, tags.content], color: "var(--mantine-color-text)" },
  { tag: [tags.number, tags.bool, tags.null, tags.keyword], color: "var(--hf-warn)" },
  { tag: [tags.comment, tags.lineComment], color: "var(--mantine-color-dimmed)" },
  { tag: [tags.punctuation, tags.separator, tags.squareBracket, tags.brace], color: "var(--mantine-color-dimmed)" },
]);

const look = EditorView.theme({
  "&": { border: "1px solid var(--hf-line)", borderRadius: "6px", backgroundColor: "var(--mantine-color-body)", color: "var(--mantine-color-text)", fontSize: "0.8438rem" },
  "&.cm-focused": { outline: "2px solid var(--mantine-color-anchor)" },
  ".cm-scroller": { fontFamily: "var(--mantine-font-family-monospace)", minHeight: "320px", maxHeight: "calc(100dvh - 260px)", lineHeight: "1.5" },
  ".cm-gutters": { backgroundColor: "var(--hf-band)", color: "var(--mantine-color-dimmed)", border: "none" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--hf-band)" },
  ".cm-cursor": { borderLeftColor: "var(--mantine-color-text)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "var(--hf-move-back)" },
  ".cm-tooltip": { backgroundColor: "var(--mantine-color-body)", color: "var(--mantine-color-text)", border: "1px solid var(--hf-line)" },
  ".cm-tooltip-autocomplete > ul > li[aria-selected]": { backgroundColor: "var(--hf-move-back)", color: "var(--hf-move)" },
  ".cm-completionDetail": { color: "var(--mantine-color-dimmed)" },
  ".cm-completionInfo": { maxWidth: "320px" },
  ".cm-panels": { backgroundColor: "var(--hf-band)", color: "var(--mantine-color-text)" },
  ".cm-diagnostic-error": { borderLeftColor: "var(--hf-bad)" },
  ".cm-lintRange-error": { backgroundImage: "none", borderBottom: "2px solid var(--hf-bad)", backgroundColor: "var(--hf-bad-back)" },
  ".cm-lintRange-warning": { backgroundImage: "none", borderBottom: "2px dashed var(--hf-warn)", backgroundColor: "var(--hf-warn-back)" },
});

export default function CodeEditor({ value, onChange, marks, schema, images, label, submit, handle }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>(undefined);
  // What the editor calls back is always the newest.
  const now = useRef({ onChange, schema, images, submit });
  const [attributes] = useRefOnce(() => new Compartment());
  useEffect(() => {
    now.current = { onChange, schema, images, submit };
  });
  useImperativeHandle(handle, () => ({
    jump(from, to) {
      const editor = view.current;
      if (!editor) return;
      const end = editor.state.doc.length;
      editor.dispatch({ selection: { anchor: Math.min(from, end), head: Math.min(to, end) }, effects: EditorView.scrollIntoView(Math.min(from, end), { y: "center" }) });
      editor.focus();
    },
  }), []);

  useEffect(() => {
    if (!place.current) return;
    const editor = new EditorView({
      parent: place.current,
      state: EditorState.create({
        doc: value,
        extensions: [
          EditorView.cspNonce.of(nonce),
          lineNumbers(), history(), drawSelection(), indentOnInput(), bracketMatching(), closeBrackets(), highlightActiveLine(),
          indentUnit.of("  "), EditorState.tabSize.of(2), yaml(), syntaxHighlighting(colours), look, lintGutter(), EditorView.lineWrapping,
          autocompletion({ override: [(context) => complete(context, now.current.schema, now.current.images)], activateOnTyping: true }),
          keymap.of([
            { key: "Mod-Enter", run: () => { now.current.submit?.(); return true; } },
            ...completionKeymap, ...lintKeymap, ...searchKeymap, ...historyKeymap, ...defaultKeymap, indentWithTab,
          ]),
          attributes.of(EditorView.contentAttributes.of({ "aria-label": label, spellcheck: "false" })),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) now.current.onChange(update.state.doc.toString());
          }),
        ],
      }),
    });
    view.current = editor;
    return () => {
      editor.destroy();
      view.current = undefined;
    };
    // The editor is made once; its text and marks follow below.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, []);

  useEffect(() => {
    const editor = view.current;
    if (editor && editor.state.doc.toString() !== value) editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: value } });
  }, [value]);

  useEffect(() => {
    view.current?.dispatch({ effects: attributes.reconfigure(EditorView.contentAttributes.of({ "aria-label": label, spellcheck: "false" })) });
  }, [label, attributes]);

  useEffect(() => {
    const editor = view.current;
    if (!editor) return;
    const end = editor.state.doc.length;
    editor.dispatch(setDiagnostics(editor.state, marks.map(({ from, to, severity, message }) => ({ from: Math.min(from, end), to: Math.min(Math.max(to, from), end), severity, message }))));
  }, [marks]);

  return <div ref={place} className="hf-editor" />;
}

function useRefOnce<T>(make: () => T): [T] {
  const made = useRef<T>(undefined);
  made.current ??= make();
  return [made.current];
}

function complete(context: CompletionContext, any: Schema | undefined, images: readonly string[]): CompletionResult | null {
  if (!any) return null;
  const text = context.state.doc.toString();
  const place = cursor(text, context.pos);
  const schema = forKind(any, kindAt(text, context.pos));
  if (!place || (place.typed === "" && !context.explicit && place.kind === "key")) return null;
  if (place.kind === "value" && isImageAt(place.path)) {
    return images.length > 0 ? { from: place.from, options: images.map((label) => ({ label, type: "constant" })), validFor: /^[\w./:@-]*$/ } : null;
  }
  if (place.kind === "value") {
    const options = values(schema, place.path).map(({ label, info }) => ({ label, type: "enum", ...(info ? { info } : {}) }));
    return options.length > 0 ? { from: place.from, options, validFor: /^[\w./-]*$/ } : null;
  }
  const options = keys(schema, place.path)
    .filter(({ label }) => !place.siblings.includes(label))
    .map(({ label, detail, info }) => {
      const below = at(schema, [...place.path, label]);
      const opening = opens(resolve(schema, below));
      const pad = " ".repeat(place.indent + 2);
      const insert = opening === "object" ? `${label}:\n${pad}` : opening === "list" ? `${label}:\n${pad}- ` : `${label}: `;
      return {
        label, detail, type: "property", ...(info ? { info } : {}),
        apply: (view: EditorView, _completion: unknown, from: number, to: number) => {
          view.dispatch({ changes: { from, to, insert }, selection: { anchor: from + insert.length } });
          setTimeout(() => startCompletion(view));
        },
      };
    });
  return options.length > 0 ? { from: place.from, options, validFor: /^[\w-]*$/ } : null;
}
