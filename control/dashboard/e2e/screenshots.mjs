// Writes every page, light and dark, wide and narrow, to screenshots/: to be looked at.
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { PAGES, seed, settle } from "./scene.mjs";
import { World } from "./world.mjs";

const out = join(import.meta.dirname, "../screenshots");
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const world = await World.start();
let count = 0;
try {
  await seed(world);
  for (const colorScheme of ["light", "dark"]) {
    for (const [size, width, height] of [["wide", 1440, 900], ["narrow", 360, 740]]) {
      const options = { colorScheme, viewport: { width, height }, reducedMotion: "reduce", deviceScaleFactor: 1 };
      const shot = async (page, name) => {
        const path = join(out, `${name}-${size}-${colorScheme}.png`);
        await page.screenshot({ path, animations: "disabled", caret: "hide" });
        count++;
      };
      const login = await world.page(options);
      await login.goto(world.url);
      await login.getByRole("button", { name: "Log in" }).waitFor();
      await shot(login, "login");
      await login.context().close();
      const page = await world.open("/", options);
      for (const { name, path, ready, act } of PAGES) {
        await settle(world, page, path, ready);
        await act?.(page);
        await shot(page, name);
      }
      await page.context().close();
    }
  }
} finally {
  await world.end();
}
try {
  // Fewer colours, a third of the size; where pngquant is not there they stay as they are.
  execFileSync("pngquant", ["--force", "--ext", ".png", "--speed", "1", "64", ...execFileSync("ls", [out]).toString().trim().split("\n")], { cwd: out, stdio: "ignore" });
} catch {
  console.log("screenshots: pngquant is not there: they are larger than they need to be");
}
console.log(`screenshots: ${count} in control/dashboard/screenshots`);
