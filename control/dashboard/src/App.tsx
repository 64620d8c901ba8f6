// Logged in: the pages. Not: the login. A session that ended under way: the login above the pages,
// so that nothing typed is lost.
import { RouterProvider } from "@tanstack/react-router";
import { useEffect } from "react";
import { resume } from "./api/session";
import { session } from "./api/state";
import { useStore } from "./api/store";
import { LoginForm, LoginPage } from "./pages/login";
import { router } from "./router";
import { Dialog } from "./ui/Dialog";
import { Loading } from "./ui/Loading";

/** Between attempts to learn, at the very start, who is logged in. */
const AGAIN = 2_000;

export function App() {
  const now = useStore(session);
  useEffect(() => {
    if (now.kind !== "unknown") return;
    let timer: ReturnType<typeof setTimeout>;
    let over = false;
    const attempt = async () => {
      if (!(await resume()) && !over) timer = setTimeout(() => void attempt(), AGAIN);
    };
    void attempt();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [now.kind]);
  if (now.kind === "unknown") return <main className="hf-card"><Loading rows={6} /></main>;
  if (now.kind === "none") return <LoginPage />;
  return (
    <>
      <RouterProvider router={router} />
      {now.kind === "ended" && (
        <Dialog title="Your session has ended">
          <LoginForm hint="What is on the page stays as it is." />
        </Dialog>
      )}
    </>
  );
}
