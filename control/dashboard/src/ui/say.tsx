// A short word after something was done; read out by screen readers, gone by itself.
import { useEffect } from "react";
import { store, useStore } from "../api/store";
import { Notice } from "./Notice";

const said = store<{ text: string; bad: boolean } | undefined>(undefined);

export function say(text: string, bad = false): void {
  said.set({ text, bad });
}

export function Said() {
  const now = useStore(said);
  useEffect(() => {
    if (!now) return;
    const timer = setTimeout(() => said.set(undefined), now.bad ? 12_000 : 5_000);
    return () => clearTimeout(timer);
  }, [now]);
  return (
    <div role="status">
      {now && <div className="hf-said"><Notice tone={now.bad ? "bad" : "good"} title={now.text} /></div>}
    </div>
  );
}
