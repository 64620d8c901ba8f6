// Lean: the compiler is strict already. Hooks, accessibility, and nothing rendered as HTML.
import a11y from "eslint-plugin-jsx-a11y";
import hooks from "eslint-plugin-react-hooks";
import ts from "typescript-eslint";

export default ts.config(
  { ignores: ["dist", "node_modules", "src/api/schema.d.ts"] },
  ...ts.configs.recommended,
  {
    files: ["src/**/*.{ts,tsx}"],
    plugins: { "react-hooks": hooks, "jsx-a11y": a11y },
    rules: {
      ...a11y.configs.recommended.rules,
      "react-hooks/rules-of-hooks": "error",
      "react-hooks/exhaustive-deps": "error",
      "@typescript-eslint/no-explicit-any": "error",
      "jsx-a11y/no-autofocus": "off",
      "no-restricted-imports": ["error", { paths: [{ name: "react", importNames: ["lazy"], message: "ui/later: it is fetched ahead, and waits for what is missing." }] }],
      "no-restricted-syntax": [
        "error",
        { selector: "JSXAttribute[name.name='dangerouslySetInnerHTML']", message: "Nothing is rendered as HTML." },
        {
          // What it returns React would call as its clean-up: scrollIntoView returns a promise in newer browsers.
          selector: "CallExpression[callee.name=/^use(Layout|Insertion)?Effect$/] > ArrowFunctionExpression:first-child:not([body.type='BlockStatement']):not([body.type='ArrowFunctionExpression'])",
          message: "An effect has a body in braces: what an expression gives would be taken for its clean-up.",
        },
        {
          selector: "CallExpression[callee.name=/^use(Layout|Insertion)?Effect$/] > Identifier:first-child",
          message: "An effect is written out: what a named function gives would be taken for its clean-up.",
        },
        { selector: "AssignmentExpression[left.property.name=/^(innerHTML|outerHTML)$/]", message: "Nothing is rendered as HTML." },
      ],
    },
  },
);
