// Login, where the pages are already here: after a log out, and above the pages
// when a session ended. The form itself is `login/form.ts`.
import { Title } from "@mantine/core";
import { useEffect, useRef } from "react";
import { loggedIn } from "../../api/session";
import { loginForm } from "../../login/form";
import { Restored } from "../../ui/Restored";

export function LoginForm({ hint }: { hint?: string }) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (place.current) return loginForm(place.current, { hint, opened: loggedIn });
  }, [hint]);
  return <div ref={place} />;
}

export function LoginPage() {
  useEffect(() => {
    document.title = "Log in · Holdfast";
  }, []);
  return (
    <main className="hf-login">
      <div className="hf-card hf-stack">
        <Title order={1}>Holdfast</Title>
        <Restored login />
        <LoginForm />
      </div>
    </main>
  );
}
