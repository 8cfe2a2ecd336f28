// Characters that nobody sees change what is read: in "Delete \u202etxt.exe" the end is turned around. So they are shown.

/**
 * Controls, marks and overrides of the direction, what has no width or is blank. Joiners belong to emoji, Arabic and Indic
 * words, `\ufe0f` to emoji and keycaps.
 */
const UNSEEN =
  /(?![\t\n]|\r\n|\ufe0f\u20e3|(?<=[\p{Lo}\p{M}\p{S}])[\u200c\u200d]|(?<=[^A-Za-z\d \t\n\r])(?<!\ufe0f)\ufe0f)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{DI}\u2800]/gu;

/** `text` as a person may read it: each unseen character as its number (`[U+202E]`). */
export function visible(text: string): string {
  return text.replace(UNSEEN, (sign) => `[U+${sign.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}]`);
}
