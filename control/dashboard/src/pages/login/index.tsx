// Login with an access token.
import { Button, PasswordInput, Title } from "@mantine/core";
import { useEffect, useState } from "react";
import { reason } from "../../api/client";
import { login } from "../../api/session";
import { Notice } from "../../ui/Notice";
import { Restored } from "../../ui/Restored";

export function LoginForm({ hint }: { hint?: string }) {
  const [token, setToken] = useState("");
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState("");
  const go = async () => {
    setBusy(true);
    setFailure("");
    try {
      await login(token.trim());
    } catch (error) {
      setFailure(reason(error));
      setBusy(false);
    }
  };
  return (
    <form
      className="hf-stack"
      onSubmit={(event) => {
        event.preventDefault();
        void go();
      }}
    >
      {hint && <p>{hint}</p>}
      <PasswordInput
        label="Access token"
        description="hfa1.… as `holdfast serve` printed it at its first start, or made under Settings"
        value={token}
        onChange={(event) => setToken(event.currentTarget.value)}
        autoComplete="current-password"
        spellCheck={false}
        data-autofocus
        autoFocus
        required
        visibilityToggleButtonProps={{ "aria-label": "Show the token", tabIndex: 0 }}
      />
      {failure && <Notice tone="bad" title="Not logged in" alert>{failure}</Notice>}
      <Button type="submit" loading={busy} disabled={token.trim() === ""}>Log in</Button>
    </form>
  );
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
