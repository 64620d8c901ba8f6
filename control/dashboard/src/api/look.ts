// Somebody looks at a device: while that is so, the control plane asks it whether it answers. What
// comes of it is told by the event stream, and stands in the device's document.
import { useEffect } from "react";
import { looks } from "../lib/pace";
import { client } from "./client";
import { idle } from "./events";
import { reach } from "./reach";
import { session } from "./state";

export function useLook(name: string): void {
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout>;
    let over = false;
    const look = () => {
      const seen = document.visibilityState === "visible" && session.get().kind === "open" && reach.get().since === undefined;
      // Nobody waits for the answer: a device that is silent takes 15 s to be so.
      if (seen) client.GET("/api/v1/devices/{name}/ping", { params: { path: { name }, query: { within: 0 } } }).catch(() => undefined);
      if (!over) timer = setTimeout(look, looks(idle()));
    };
    look();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [name]);
}
