// Logged in: the pages. Not any more: the login. A session that ended under way: the login above the
// pages, so that nothing typed is lost. The very first login is `main.ts`.
import { RouterProvider } from "@tanstack/react-router";
import { session } from "./api/state";
import { useStore } from "./api/store";
import { LoginForm, LoginPage } from "./pages/login";
import { router } from "./router";
import { Dialog } from "./ui/Dialog";

export function App() {
  const now = useStore(session);
  if (now.kind === "none" || now.kind === "unknown") return <LoginPage />;
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
