// Comments of a YAML text: the API stores documents, not texts, and they are lost on the way.
import { CST, Lexer } from "yaml";

export function hasComments(text: string): boolean {
  let before = "";
  for (const token of new Lexer().lex(text)) {
    // The source of a scalar follows its sign, whatever it begins with.
    if (before !== CST.SCALAR && CST.tokenType(token) === "comment") return true;
    before = token;
  }
  return false;
}
